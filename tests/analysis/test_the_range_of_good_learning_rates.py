"""The range of learning rates whose loss is within a margin of the lowest, and its interval."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.plots.rate_range import rate_range_figure
from analysis.studies.rate_range import DRAWN, RUNS, good_range, printed, printed_ranges, ranges, sentences

RATES = np.array([1.0, 2.0, 4.0, 8.0, 16.0])


def frame(losses, patches, clip="1", backbone="deit_nano"):
    """losses: seed -> losses by rate; nan: the run failed."""
    rows = [
        [backbone, patches, clip, rate, seed, math.isnan(loss), loss]
        for seed, of_seed in losses.items()
        for rate, loss in zip(RATES, of_seed, strict=True)
    ]
    return pd.DataFrame(rows, columns=RUNS)


def test_the_range_ends_where_the_loss_crosses_the_margin():
    found = good_range(RATES, np.array([0.34, 0.30, 0.30, 0.32, 0.40]), margin=0.02)
    assert (found.best, found.open) == (2.0, "")
    assert found.low == pytest.approx(2**0.5)  # half-way from 2 to 1 in the logarithm
    assert found.high == pytest.approx(8.0)  # the margin itself
    assert found.octaves == pytest.approx(2.5)


def test_a_range_is_truncated_by_the_rates_that_were_tried_and_ends_before_failures():
    whole = good_range(RATES, np.full(5, 0.3))
    assert (whole.low, whole.high, whole.open) == (1.0, 16.0, "both")
    failing = good_range(RATES, np.array([0.30, 0.30, math.nan, 0.30, 0.29]))
    assert (failing.low, failing.high, failing.open) == (8.0, 16.0, "high")  # what is beyond a failure is not connected
    hill = good_range(RATES, np.array([0.30, 0.29, 0.90, 0.29, 0.295]), margin=0.02)
    assert hill.open == "low"
    assert 2 < hill.high < 4


@given(st.lists(st.floats(0.1, 2.0), min_size=2, max_size=8), st.floats(0.0, 0.5))
def test_the_range_holds_the_best_rate_and_grows_with_the_margin(losses, margin):
    rates, losses = 2.0 ** np.arange(len(losses)), np.array(losses)
    found, wider = (good_range(rates, losses, m) for m in (margin, 2 * margin))
    assert rates[0] <= wider.low <= found.low <= found.best <= found.high <= wider.high <= rates[-1]
    inside = (rates >= found.low) & (rates <= found.high)
    assert (losses[inside] <= losses.min() + margin + 1e-9).all()


def test_ranges_of_seeds_have_an_interval_and_drawn_sizes_are_compared():
    narrow, wide = [0.50, 0.30, 0.34, 0.50, 0.90], [0.50, 0.30, 0.30, 0.34, 0.90]
    runs = pd.concat(
        [
            frame({seed: [loss + 0.001 * seed for loss in wide] for seed in range(3)}, "4 px"),
            frame({seed: [loss + 0.002 * seed for loss in narrow] for seed in range(3)}, "16,8,4 px"),
        ]
    )
    table = ranges(runs).set_index("patches")
    assert table["octaves"].to_dict() == pytest.approx({"4 px": 1.6, "16,8,4 px": 0.6, DRAWN: -1.0})
    assert table.loc[DRAWN, "open"] == ""
    assert table["failed"].tolist() == [0, 0, 0]
    assert table["runs"].tolist() == [15, 15, 30]


def test_the_jackknife_of_a_mean_is_that_of_student():
    """Where the width is linear in the losses: one crossing between two rates."""
    steps = [0.30, 0.36, 0.42]
    runs = frame({seed: [0.9, 0.2, loss, 0.9, 0.9] for seed, loss in enumerate(steps)}, "4 px")
    (row,) = ranges(runs).to_dict("records")
    by_hand = [0.02 / 0.7 + 0.02 / (np.mean(steps) - 0.2)]
    for loss in steps:
        rest = (sum(steps) - loss) / 2
        by_hand.append(3 * by_hand[0] - 2 * (0.02 / 0.7 + 0.02 / (rest - 0.2)))
    assert row["octaves"] == pytest.approx(np.mean(by_hand[1:]))
    half = 4.302652729911275 * np.std(by_hand[1:], ddof=1) / math.sqrt(3)
    assert row["high"] - row["octaves"] == pytest.approx(half)


def test_runs_that_failed_are_counted_and_a_truncated_range_decides_nothing():
    drawn = {0: [0.30, 0.30, 0.31, math.nan, math.nan], 1: [0.31, 0.30, 0.30, 0.31, math.nan]}
    runs = pd.concat([frame({0: [0.3] * 5, 1: [0.31] * 5}, "4 px"), frame(drawn, "16,8,4 px")], ignore_index=True)
    table = ranges(runs)
    assert table["failed"].tolist() == [0, 3, 3]
    assert table["open"].tolist() == ["both", "low", "both"]
    (sentence,) = sentences(table)
    assert sentence.endswith("undecided, as the rates that were tried truncate a range.")
    shown = printed_ranges(table)
    assert shown["good rates\n[1/1000]"].tolist() == ["<1e+03 to >1.6e+04", "<1e+03 to 4e+03", "-"]
    cells = printed(runs).set_index("learning rate")["clip 1\n16,8,4 px"]
    assert cells["8"] == "0.310, 1 of 2 failed"
    assert cells["16"] == "2 of 2 failed"
    (axes,) = rate_range_figure(runs, "title").axes
    drawn_means = [line for line in axes.get_lines() if line.get_linestyle() == "-"]
    assert [len(line.get_xdata()) for line in drawn_means] == [5, 4]


def test_seeds_without_all_rates_are_left_out():
    runs = frame({0: [0.5, 0.3, 0.3, 0.5, 0.9], 1: [0.5, 0.3, 0.3, 0.5, 0.9]}, "4 px")
    whole = ranges(runs)
    assert ranges(runs.iloc[:-1])["octaves"].tolist() == pytest.approx(whole["octaves"].tolist())
    assert math.isnan(ranges(runs.iloc[:-1])["low"].item())
    assert ranges(runs.iloc[:0]).empty
