"""Estimates of claims on teachers and coarse tuning, on frames whose differences are known by arithmetic."""

import itertools
import math

import pandas as pd
import pytest

from analysis.claims.starts_and_teachers import finer_over_tuned, taught_over_labels

SEEDS = (0, 1, 2)
HALF = 4.302653 * 0.01 / math.sqrt(3)  # of an interval of three seeds, 0.01 apart


def frame(columns, level):
    """level: of the loss by the values of columns, the seed apart."""
    rows = [(*key, seed, 1 + 0.3 * seed + value) for key, value in level.items() for seed in SEEDS]
    return pd.DataFrame(rows, columns=[*columns, "seed", "test_loss"])


def test_taught_students_are_compared_with_those_that_have_neither_teacher_nor_its_weights():
    more = {("labels", "random"): 0, ("labels", "teacher's"): 5, ("teacher's logits", "random"): 7}
    level = {(*way, patch): value for (way, value), patch in itertools.product(more.items(), (2, 16))}
    level |= {("teacher's logits", "teacher's", 16): -0.1, ("teacher's logits", "teacher's", 2): 0.2}
    runs = frame(["loss", "start", "patch"], level)
    taught = (runs["loss"] == "teacher's logits") & (runs["start"] == "teacher's")
    runs.loc[taught, "test_loss"] += 0.01 * (runs["seed"] - 1)
    found = taught_over_labels(runs)
    assert [one.what for one in found] == ["DeiT-nano, 16 px", "DeiT-nano, 2 px"]
    assert [one.value for one in found] == pytest.approx([-0.1, 0.2])
    assert [one.high - one.value for one in found] == pytest.approx([HALF, HALF])


def test_a_tuned_model_is_compared_with_itself_at_finer_patches():
    level = {("flexible", "tuned", 16): 9, ("flexible", "tuned", 8): 0.5, ("flexible", "tuned", 4): 0.3}
    level |= {("flexible", "tuned", 2): 0.6, ("flexible", "before", 8): 3, ("fixed, 8 px", "tuned", 4): 4}
    found = finer_over_tuned(frame(["start", "when", "patch"], level))
    assert [one.what for one in found] == ["DeiT-nano, 4 less 8 px", "DeiT-nano, 2 less 8 px"]
    assert [one.value for one in found] == pytest.approx([-0.2, 0.1])
