"""The frontier is what no other row beats, by a slow and obvious reference."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.planning.pareto import frontier, training_flops

ROWS = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), max_size=14)  # few values, so that there are ties


def frontier_ref(rows: list[tuple[float, float]], better) -> list[int]:
    """Numbers of the rows that no other dominates: every pair is looked at."""

    def dominates(one, other):
        no_worse = one[0] <= other[0] and (one[1] == other[1] or better(one[1], other[1]))
        return no_worse and one != other

    return [n for n, row in enumerate(rows) if not any(dominates(other, row) for other in rows)]


@given(ROWS)
def test_the_least_loss_at_or_below_a_cost(rows):
    frame = pd.DataFrame(rows, columns=["flops_per_image", "test_loss"], dtype=float)
    found = frontier(frame)
    assert sorted(found.index) == frontier_ref(rows, lambda a, b: a < b)
    assert found["flops_per_image"].is_monotonic_increasing
    assert found["test_loss"].is_monotonic_decreasing


@given(ROWS)
def test_the_best_metric_at_or_below_a_cost(rows):
    frame = pd.DataFrame(rows, columns=["tokens", "top1"], dtype=float)
    assert sorted(frontier(frame, "tokens", "top1").index) == frontier_ref(rows, lambda a, b: a > b)


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing_and_a_frontier_is_its_own(rows, random):
    frame = pd.DataFrame(rows, columns=["flops_per_image", "test_loss"], dtype=float)
    shuffled = frame.loc[random.sample(list(frame.index), len(frame))]
    assert sorted(frontier(shuffled).index) == sorted(frontier(frame).index)
    assert sorted(frontier(frontier(frame)).index) == sorted(frontier(frame).index)


def test_a_column_that_is_a_loss_is_better_when_it_is_less():
    frame = pd.DataFrame({"tokens": [1, 2], "test_box_loss": [0.5, 0.9], "box_ap": [1.0, 2.0]})
    assert frontier(frame, "tokens", "test_box_loss").index.tolist() == [0]
    assert frontier(frame, "tokens", "box_ap").index.tolist() == [0, 1]


def test_runs_that_failed_or_lack_a_number_are_on_no_frontier():
    frame = pd.DataFrame(
        {
            "status": ["finished", "failed", "finished", "finished"],
            "flops_per_image": [2.0, 1.0, 0.0, np.nan],
            "test_loss": [1.0, np.nan, 0.1, 0.1],
        }
    )
    assert frontier(frame).index.tolist() == [0]
    assert frontier(frame.iloc[1:2]).empty


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no column price; it has: test_loss"):
        frontier(pd.DataFrame({"test_loss": [1.0]}), "price")


def test_training_flops_are_three_forward_passes_an_image():
    runs = pd.DataFrame(
        {
            "data": ["shapes", "imagenet", "folder", "ade20k"],
            "flops_per_image": 10.0,
            "steps": [0, 0, 0, 100],
            "batch": 4,
            "epochs": [2, 3, 3, 3],
            "train_images": [50, 0, 0, 0],
        }
    )
    assert training_flops(runs).tolist() == pytest.approx([3000, 30 * 3 * 1_281_167, np.nan, 12000], nan_ok=True)
