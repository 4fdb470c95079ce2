"""Estimates of claims that recommend a patch size: budgets on frames of known differences, and published scores."""

import math

import pandas as pd
import pytest

from analysis.claims.recommended_patches import ESTIMATES, within_budgets

RUNS = pd.DataFrame({"backbone": "deit_nano", "patch": [8, 2], "flops_per_image": [10, 100]})
NOISE = {0: -0.01, 1: 0.0, 2: 0.01}


def curves(at_8, at_2):
    """Losses by images seen, three seeds; those at 2 px have noise."""
    losses = {8: at_8, 2: at_2}
    return pd.DataFrame(
        [
            ("deit_nano", patch, seed, images, loss + (NOISE[seed] if patch == 2 else 0))
            for patch in losses
            for seed in NOISE
            for images, loss in losses[patch].items()
        ],
        columns=["backbone", "patch", "seed", "images", "test_loss"],
    )


def test_within_a_budget_a_patch_has_its_best_loss_of_the_images_that_the_budget_pays():
    small, large = within_budgets(RUNS, curves({50: 1.6, 100: 1.5}, {5: 2.2, 10: 2.0, 11: 0.2, 100: 1.1}))
    assert small.what == "DeiT-nano, FLOPs of five passes at 8 px: 2 less 8 px"
    assert small.value == pytest.approx(2.0 - 1.5)
    assert large.what == "DeiT-nano, FLOPs of five passes at 2 px: 8 less 2 px"
    assert large.value == pytest.approx(1.5 - 0.2)
    reach = 4.302653 * 0.01 / math.sqrt(3)  # of 95 %, three seeds with a standard deviation of 0.01
    for one in (small, large):
        assert (one.low, one.high) == pytest.approx((one.value - reach, one.value + reach), abs=1e-6)


def test_scores_are_those_of_the_tables():
    """Adventurer-Base at 224 px: 84.6 % at 1 px, 82.6 at 16; box AP of nuclei is highest at 4 px."""
    below = {one.what: one.value for one in ESTIMATES["below_best_patch"]()}
    assert below["ImageNet, Adventurer-Base, 224 px: best at 1 px, recommended 16 px"] == pytest.approx(2.0)
    assert below["nuclei, Adventurer-nano: best at 4 px, recommended 8 or 4 px"] == 0
    assert [one.value for one in ESTIMATES["doublings_by_task"]()] == [0, 0]
