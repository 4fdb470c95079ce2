"""A law that is held against a patch it has not seen is held against two naive rules as well: the last value, and the
last value with half of the last gain once more."""

import numpy as np
import pandas as pd
import pytest

from analysis.fitting.model_selection import hold_out
from analysis.records.groups import Group, published_groups
from analysis.report.checklist import checklist
from analysis.report.law_table import fit_groups, held_out_errors, held_out_sentence, laws_frame, lines, rising

PATCH = np.array([16.0, 8, 4, 2, 1])


def group(y, name="nano") -> Group:
    return Group(name, name, "own", pd.DataFrame({"patch": PATCH, "seed": 0, "y": y}))


def test_the_naive_rules_by_hand():
    held = hold_out(PATCH, [2.0, 1.5, 1.2, 1.0, 0.8], "power")
    assert (held.last, held.half) == (1.0, pytest.approx(0.9))
    assert held.baselines == pytest.approx((0.25, 0.125))
    tokens = hold_out((16 / PATCH) ** 2, [2.0, 1.5, 1.2, 1.0, 0.8], "power", end="largest")
    assert (tokens.last, tokens.half) == (held.last, pytest.approx(held.half))


def test_seeds_are_averaged_as_their_logarithms_are():
    held = hold_out(np.repeat(PATCH, 2), np.outer([2.0, 1.5, 1.2, 1.0, 0.8], [1.1, 1 / 1.1]).ravel(), "power")
    assert (held.last, held.half) == pytest.approx((1.0, 0.9))


def test_the_table_the_file_and_the_report_have_them(unbanded, unsaved):
    laws = fit_groups([group([2.0, 1.5, 1.2, 1.0, 0.8])], ["power", "shifted"])
    (row,) = (line for line in lines(laws) if "naive" in line)
    assert row.split() == ["naive", "last", "value", "+25.0", "+", "half", "the", "last", "gain", "+12.5"]
    assert laws_frame(laws)[["held_out_last", "held_out_half"]].to_numpy() == pytest.approx(np.array([[1.0, 0.9]] * 2))
    assert "| naive predictions there | last value +25.00 %; last value and half the last gain +12.50 % |" in checklist(
        laws
    )
    assert held_out_errors(laws) == ""  # one group is no comparison


def test_a_sentence_names_the_closest_prediction(unbanded, unsaved):
    good = fit_groups([group(1.0 * PATCH**0.5)], ["power"])
    assert "last value +41.4 %, last value and half the last gain +12.1 %; closest: power law." in held_out_sentence(
        good
    )
    flat = fit_groups([group([2.0, 1.5, 1.2, 1.0, 1.0])], ["power"])
    assert "closest: last value, so no law extrapolates better than a naive rule" in held_out_sentence(flat)
    assert held_out_sentence(flat) in checklist(flat)
    assert held_out_sentence([]) == ""


def test_of_tables_1_and_4_half_the_last_gain_held_out_errors_less_than_the_shifted_law(unbanded):
    groups = [of for of in published_groups() if of.source == "Tables 1, 4" and of.points["patch"].min() == 1]
    laws = fit_groups(groups, ["power", "shifted"])
    points = {form: [abs(of.held_out.error) for of in laws if of.form == form] for form in ("power", "shifted")}
    naive = [abs(of.held_out.half - of.held_out.measured) for of in laws if of.form == "power"]
    assert (np.mean(naive), np.max(naive)) == pytest.approx((0.044, 0.15), abs=0.0051)
    assert np.mean(naive) < np.mean(points["shifted"]) < np.mean(points["power"])
    said = held_out_errors(laws)
    assert said.startswith(f"Mean held-out error of the smallest patch over {len(groups)} groups [%]: power law ")
    assert "last value and half the last gain 0.2 (worst 0.8)" in said


def test_losses_that_rise_towards_small_patches_are_remarked(unbanded, unsaved):
    laws = fit_groups(
        [group([0.8, 1.0, 1.2, 1.5, 2.0]), group([2.0, 1.5, 1.2, 1.0, 0.8], "fine")], ["power", "shifted"]
    )
    (said,) = rising(laws)
    assert said.startswith("nano: the loss increases towards small patches (alpha below 0, power and shifted law)")
    assert "L_inf is the limit of large p, not of small" in checklist(laws)
