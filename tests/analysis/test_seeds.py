"""How far seeds lie apart, and what is said of the smallest patch."""

import math

import numpy as np
import pandas as pd
import pytest

from analysis.records.groups import own_groups
from analysis.records.patch_tests import patch_tests
from analysis.records.run_set import load
from analysis.records.seed_noise import seed_spread
from analysis.report.patch_test_text import smallest_patch
from tests.analysis.test_fit_laws import sweep


def test_seed_spread_pools_the_patch_sizes():
    frame = pd.DataFrame(
        {
            "group": ["a"] * 5 + ["b"] * 2,
            "patch": [2, 2, 1, 1, 1, 2, 1],
            "test_loss": [1.0, 1.2, 0.5, 0.6, 0.7, 1.0, 0.9],
        }
    )
    spread = seed_spread(frame).set_index("group")
    assert spread.loc["a", "spread"] == pytest.approx(math.sqrt((0.02 + 0.02) / 3))
    assert (spread.loc["a", "df"], spread.loc["a", "seeds"]) == (3, 3)
    assert math.isnan(spread.loc["b", "spread"])
    assert spread.loc["b", "df"] == 0


def test_seeds_give_the_spread_and_the_verdict_on_the_smallest_patch(tmp_path):
    (group,) = own_groups(load(sweep(tmp_path / "results", seeds=(0, 1, 2), backbones=("deit_nano",))))[0]
    points = group.points
    sentence = smallest_patch(points)
    assert sentence.startswith("1 vs 2 px better, -1")
    assert sentence.endswith(" (paired, 3 seeds)")
    assert len(f"adventurer_nano: {sentence}") <= 80
    worse = points.assign(y=points["y"].where(points["patch"] > 1, 2.0 + 0.01 * points["seed"]))
    assert smallest_patch(worse).startswith("1 vs 2 px worse, +")
    close = points[points["patch"] <= 2].copy()
    close["y"] = 1.0 + 0.1 * close["seed"] * (-1.0) ** close["patch"] + 0.01 * (close["patch"] == 1)
    assert smallest_patch(close).startswith("1 vs 2 px undecided, ")
    assert smallest_patch(close[close["patch"] == 1]) == "one patch size"


def test_the_screen_and_the_report_have_one_verdict(tmp_path):
    """Holm's: the last of several steps may be undecided although its own p is below 0.05."""
    (group,) = own_groups(load(sweep(tmp_path / "results", seeds=(0, 1, 2), backbones=("deit_nano",))))[0]
    points = group.points.sort_values(["patch", "seed"], ignore_index=True)
    log_N = 0.01 * np.random.default_rng(0).normal(size=len(points))
    log_N[:3] = log_N[3:6] + np.array([-0.08, -0.05, -0.055])  # nothing happens but at the last of four steps
    points["y"] = np.exp(log_N)
    step, sentence = patch_tests(points).iloc[-1], smallest_patch(points)
    assert step["p"] < 0.05 < step["p_holm"]
    assert sentence.startswith("1 vs 2 px undecided, ")
    assert f"p = {step['p_holm']:.2g} " in sentence
