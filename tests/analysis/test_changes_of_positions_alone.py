"""A change of the patch size with encodings whose positions it changes, against the same change without positions."""

import pandas as pd
import pytest

from analysis.plots.changes import changes_figure
from analysis.studies.changes import CHANGES, ENCODING, printed_changes
from analysis.studies.position_changes import compared, comparisons
from experiments.recipes import shapes
from experiments.studies.curricula import ENCODINGS, position_changes


def found(of_kind):
    """of_kind: encoding -> (gap, spike) by seed."""
    rows = [
        [kind, "deit_nano", "8@0.5,4@1", seed, "8 px of 16 to 4 px of 16", 256, 1.0, 1.0 + gap, spike, 32]
        for kind, values in of_kind.items()
        for seed, (gap, spike) in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=[ENCODING, *CHANGES])


def test_what_positions_add_is_paired_by_seed():
    without = [(0.1, 0.2), (0.2, 0.4), (0.3, 0.3)]
    table = found(
        {
            "none": without,
            "sincos": [(gap + 0.01 * (seed - 1), spike) for seed, (gap, spike) in enumerate(without)],
            "sincos1d": [(gap + 0.5 + 0.01 * seed, spike + 0.1) for seed, (gap, spike) in enumerate(without)],
        }
    )
    of = comparisons(table).set_index([ENCODING, "what"])
    assert of["change"].to_dict() == pytest.approx(
        {("sincos", "gap"): 0, ("sincos", "spike"): 0, ("sincos1d", "gap"): 0.51, ("sincos1d", "spike"): 0.1}
    )
    assert of.loc[("sincos1d", "gap"), "verdict"] == "worse"
    assert of.loc[("sincos", "gap"), "verdict"] == "undecided"
    assert of.loc[("sincos", "spike"), "verdict"] == "untested"  # no seed differs
    shown = compared(comparisons(table))
    assert shown[ENCODING].tolist() == ["sincos", "sincos1d"]
    assert shown["gap [nats]"].iloc[1].startswith("+0.510 worse\n[+0.48")
    assert printed_changes(table)[ENCODING].tolist() == ["none", "sincos", "sincos1d"]
    left, right = changes_figure(table, "title").axes
    assert [len(line.get_xdata()) for line in left.get_lines()[:2]] == [9, 3]
    assert len(right.get_lines()) == 3


def test_without_runs_that_have_no_positions_nothing_is_compared():
    assert comparisons(found({"sincos": [(0.1, 0.2), (0.2, 0.2)]})).empty


def test_the_study_has_each_encoding_in_both_directions():
    runs = position_changes(shapes.deit_nano, 8, 4)
    assert len({run.run_id for run in runs}) == len(runs) == 2 * len(ENCODINGS)
    assert {run.step_shapes.text for run in runs} == {"8@0.5,4@1", "4@0.5,8@1"}
    assert {run.model.patch_size for run in runs} == {4}
