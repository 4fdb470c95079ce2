"""Estimates of claims on positions, on frames whose differences are known by arithmetic."""

import itertools
import math

import pandas as pd
import pytest

from analysis.claims import encodings_elsewhere, finetuned_patches, position_laws, transfer
from analysis.claims.verdict import Range, Verdict, decide_all
from analysis.studies.transfer import DIRECT, TRANSFERS

SEEDS = range(3)
T_2 = 4.302652729911275  # two-sided critical value of Student's t at 95 %, two degrees of freedom
OFF = (-0.01, 0.0, 0.01)  # of a difference between seeds, whose mean is 0 and whose standard deviation is 0.01
HALF = T_2 * 0.01 / math.sqrt(3)
LEVEL = (0.5, 0.9, 0.7)  # loss of a seed, which is no part of a difference


def law_runs(image=16):
    """Losses by kind: 2-D sinusoids at LEVEL, 1-D ones 0.1 above, learned ones 0.05 below."""
    more = {"sincos": 0.0, "sincos1d": 0.1, "learned": -0.05}
    rows = [
        ("deit_nano", kind, image, patch, seed, LEVEL[seed] + above + (OFF[seed] if above else 0))
        for (kind, above), patch, seed in itertools.product(more.items(), (16, 8, 4, 2, 1), SEEDS)
    ]
    return pd.DataFrame(rows, columns=["backbone", "positions", "image", "patch", "seed", "test_loss"])


def test_losses_with_kinds_of_positions_are_compared_with_2d_sinusoids():
    found = position_laws.over_sincos(law_runs(), "sincos1d", position_laws.SMALL)
    assert [one.what for one in found] == [f"DeiT-nano, {p} px: sincos1d less sincos" for p in (2, 1)]
    assert [one.value for one in found] == pytest.approx([0.1, 0.1])
    opposite = position_laws.sincos_over_learned(law_runs())
    assert [one.value for one in opposite] == pytest.approx([0.05] * 4)
    assert all(one.low < one.value < one.high for one in opposite)
    assert opposite[0].what == "DeiT-nano, 8 px: sincos less learned"
    larger = position_laws.over_sincos(law_runs(32), "sincos1d", position_laws.SMALL)
    assert [one.what for one in larger] == [f"DeiT-nano, {p} px: sincos1d less sincos" for p in (4, 2, 1)]


# By encoding its rules, and by rule what it adds to the loss per 1 of abs(log2 side).
RULES = {
    "learned": {"bicubic": 0.2, "bilinear": 0.3},
    "sincos": {"interpolate": 0.1, "extrapolate": 0.4},
    "relative": {"bicubic": 0.05},
}
FINETUNED = -0.1  # what 100 steps add


def moved(rules=RULES):
    """A model trained at side s has a loss of LEVEL - 0.1 (s - 1)."""
    rows = []
    for (encoding, of), side, seed in itertools.product(rules.items(), (0.5, 1, 2, 3), SEEDS):
        there = LEVEL[seed] - 0.1 * (side - 1)
        run = ["deit_nano", encoding]
        where = ["", int(32 * side), 8, side]
        rows.append([*run, DIRECT, *where, 0, seed, there])
        for rule, slope in of.items():
            if side != 1:
                at_once = there + slope * abs(math.log2(side)) + OFF[seed]
                rows += [[*run, rule, *where, 0, seed, at_once], [*run, rule, *where, 100, seed, at_once + FINETUNED]]
    return pd.DataFrame(rows, columns=TRANSFERS)


LOG3 = math.log2(3)


def values(found):
    return {one.what.removeprefix("DeiT-nano, ").removesuffix(" times the side"): one.value for one in found}


def test_models_at_other_grids_are_compared_with_those_trained_there():
    found = transfer.interpolated_over_direct(moved())
    assert values(found) == pytest.approx(
        {
            f"{encoding} ({rule}), {side:g}": slope * abs(math.log2(side))
            for encoding, rule, slope in (
                ("learned", "bicubic", 0.2),
                ("sincos", "interpolate", 0.1),
                ("relative", "bicubic", 0.05),
            )
            for side in (0.5, 2, 3)
        }
    )
    assert found[0].high - found[0].value == pytest.approx(HALF)
    assert decide_all(found, Range(0, math.inf), 0.02) == Verdict.SUPPORTED
    assert values(transfer.first_rule_over_direct(moved())) == values(found)
    assert values(transfer.bicubic_over_direct(moved(), 3)) == pytest.approx({"learned (bicubic), 3": 0.2 * LOG3})


def test_the_loss_rises_away_from_the_own_side():
    found = [one.value for one in transfer.rises_away(moved({"learned": {"bicubic": 0.2}}))]
    assert found == pytest.approx([0.2, 0.2, 0.2 * (LOG3 - 1)])


def test_quality_is_the_loss_trained_there_over_that_transferred_less_the_formula():
    runs = moved({"learned": {"bicubic": 0.0}})
    spread = runs["rule"] != DIRECT
    runs.loc[spread, "test_loss"] = 2 * (runs.loc[spread, "test_loss"] - runs.loc[spread, "seed"].map(OFF.__getitem__))
    found = transfer.quality_less_formula(runs)
    assert [one.value for one in found] == pytest.approx([0, 0, 1 / 2 - 1 / 3])


def test_finetuned_models_are_compared_with_the_best_rule_at_once():
    found = values(transfer.finetuned_over_best(moved()))
    assert found["learned (bicubic), 2"] == pytest.approx(-0.1)
    best_last = {"learned": {"bicubic": 0.3, "bilinear": 0.1}}
    assert values(transfer.finetuned_over_best(moved(best_last)))["learned (bicubic), 2"] == pytest.approx(0.1)


def test_rules_and_encodings_are_compared_at_larger_sides():
    found = encodings_elsewhere.extrapolated_over_interpolated(moved())
    assert values(found) == pytest.approx({"sincos (extrapolate), 2": 0.3, "sincos (extrapolate), 3": 0.3 * LOG3})
    (most,) = encodings_elsewhere.most_over_least(moved())
    assert most.what == "DeiT-nano, 3 times the side: sincos less relative"
    assert most.value == pytest.approx(0.35 * LOG3)
    another = encodings_elsewhere.over_another(moved(), ["relative"], "learned")
    assert [one.value for one in another] == pytest.approx([-0.15, -0.15 * LOG3])


def test_the_spread_between_encodings_is_that_elsewhere_less_that_at_the_own_side():
    """0.05, 0.1 and 0.2 have a standard deviation of 0.0764; at the own side there is none."""
    found = encodings_elsewhere.spread_over_own(moved())
    deviation = pd.Series([0.05, 0.1, 0.2]).std()
    assert [one.value for one in found] == pytest.approx([deviation, deviation * LOG3])


STEPS = (0, 10, 30, 100, 300, 1000)


def finetuned(reach=1.0):
    """Learned positions: from 1 nat more than trained there to 0.05 more, linear in log(1 + steps); relative ones are
    as low after `reach` as many of them in that scale."""
    rows = []
    for kind, patch, seed in itertools.product(("learned", "relative"), (2, 8), SEEDS):
        run, where = ["deit_nano", kind], [16, patch, 4 / patch]
        rows.append([*run, DIRECT, "", *where, 0, seed, LEVEL[seed]])
        for kernel, steps in itertools.product(("pi", "vanilla"), STEPS):
            share = math.log1p(steps) / math.log1p(1000)
            share = min(1, share / (reach if kind == "relative" else 1))
            more = 1 - 0.95 * share + (0.5 if kernel == "vanilla" else 0)
            spread = OFF[seed] if steps else 0
            rows.append([*run, "any", kernel, *where, steps, seed, LEVEL[seed] + more + spread])
    return pd.DataFrame(rows, columns=TRANSFERS)


def test_falls_and_ends_of_finetuning_have_the_pseudo_inverse_alone():
    share = math.log1p(300) / math.log1p(1000)
    found = finetuned_patches.falls(finetuned())
    assert [one.what for one in found] == ["DeiT-nano, learned, 4 to 2 px", "DeiT-nano, learned, 4 to 8 px"]
    assert [one.value for one in found] == pytest.approx([0.95 * share] * 2)
    ends = finetuned_patches.longest_over_direct(finetuned())
    assert [one.value for one in ends] == pytest.approx([0.05] * 4)
    assert ends[0].high == pytest.approx(0.05 + HALF)


def test_steps_to_90_percent_and_their_ratio_to_those_of_learned_positions():
    """Without a spread of the seeds the line is crossed at 0.9 of its reach."""
    runs = finetuned(reach=0.5)
    runs["test_loss"] -= runs["seed"].map(OFF.__getitem__) * (runs["steps"] > 0)
    alone = {one.what: one.value for one in finetuned_patches.steps_to_share(runs)}
    assert alone["DeiT-nano, learned, 4 to 2 px"] == pytest.approx(math.expm1(0.9 * math.log1p(1000)))
    (ratio,) = finetuned_patches.steps_over_learned(runs, ["relative"])
    assert ratio.what == "DeiT-nano, relative, 4 to 2 px, over learned"
    assert ratio.value == pytest.approx(
        alone["DeiT-nano, relative, 4 to 2 px"] / alone["DeiT-nano, learned, 4 to 2 px"]
    )
    assert ratio.value < 0.2
