"""L(N, p, D) on synthetic runs with known truth: the law, its intervals, isoFLOP curves and directions."""

import itertools

import numpy as np
import pandas as pd
import pytest

from analysis.fitting.model_patch_images import fit_sizes, hold_out_largest
from analysis.planning.isoflop import best_patches, directions, isoflop, place_of, verdict

TRUTH = {"E": 0.2, "A": 30.0, "a": 0.4, "B": 0.1, "b": 0.7, "C": 40.0, "c": 0.5}


def truth(N, p, D):
    return TRUTH["E"] + 30 * N**-0.4 + 0.1 * p**0.7 + 40 * D**-0.5


def runs(seed=0, noise=0.01, seeds=2, sizes=4):
    """Models of 1e4 to 6.4e5 parameters; FLOPs per image 2 N times 256 / p^2 tokens."""
    rng, rows = np.random.default_rng(seed), []
    grid = itertools.product(1e4 * 4.0 ** np.arange(sizes), (16, 8, 4, 2), (4e3, 1.6e4, 6.4e4), range(seeds))
    for N, p, D, run in grid:
        y, flops = truth(N, p, D) * np.exp(noise * rng.normal()), 2 * N * 256 / p**2
        rows.append([f"m{N:g}", N, float(p), D, run, y, flops, 3 * flops * D])
    return pd.DataFrame(
        rows, columns=["model", "parameters", "patch", "images", "seed", "y", "flops_per_image", "training_flops"]
    )


def test_without_noise_the_truth_is_found():
    found = fit_sizes(runs(noise=0.0, seeds=1), draws=5)
    assert found.law.form == "additive"
    assert found.law.parameters == pytest.approx(TRUTH, rel=1e-3)


def test_directions_are_those_of_the_true_law():
    found = fit_sizes(runs(noise=1e-6), draws=20)
    place = place_of(found.points)
    N, p, D = place["parameters"], place["patch"], place["images"]
    here = truth(N, p, D)
    expected = [truth(2 * N, p, D) - here, truth(N, p, 2 * D) - here, truth(N, p / 2**0.5, D) - here]
    steps = directions(found, place)
    assert steps["change"].to_numpy() == pytest.approx(expected, rel=1e-2)
    assert verdict(steps) == f"{steps['direction'][int(np.argmin(expected))]} lowers the loss most"


def test_isoflop_curves_take_the_best_model_at_each_patch_by_brute_force():
    found = fit_sizes(runs(noise=1e-6), draws=20)
    table = isoflop(found)
    for row in table.itertuples():
        losses = []
        for N in found.points["parameters"].unique():
            D = row.budget / (3 * 2 * N * 256 / row.patch**2)
            if 2e3 <= D <= 1.28e5:
                losses.append(truth(N, row.patch, D))
        assert row.predicted == pytest.approx(min(losses), rel=1e-3)
    assert table.groupby("budget")["share"].sum().to_numpy() == pytest.approx(1.0)
    best = best_patches(table)
    assert ((best["finest"] <= best["patch"]) & (best["patch"] <= best["coarsest"])).all()


def test_intervals_hold_the_true_change_nearly_always():
    held = []
    for seed in range(5):
        found = fit_sizes(runs(seed), draws=100, seed=seed)
        place = place_of(found.points)
        N, p, D = place["parameters"], place["patch"], place["images"]
        longer = directions(found, place).iloc[1]
        held.append(longer["low"] <= truth(N, p, 2 * D) - truth(N, p, D) <= longer["high"])
        held += [low <= TRUTH[name] <= high for name, (low, high) in found.draws.intervals().items() if name in TRUTH]
    assert np.mean(held) > 0.75


def test_large_noise_is_undecided():
    found = fit_sizes(runs(3, noise=0.3), draws=200)
    assert verdict(directions(found, place_of(found.points))).startswith("undecided")


def test_the_law_predicts_the_largest_model_better_than_naive_rules():
    held = hold_out_largest(fit_sizes(runs(noise=0.002), draws=5))
    assert held is not None
    assert held.law < min(held.last, held.half)
    assert hold_out_largest(fit_sizes(runs(sizes=3), draws=5)) is None


def test_two_sizes_are_refused_with_the_number_that_is_needed():
    with pytest.raises(ValueError, match="2 model sizes, and 3 are needed"):
        fit_sizes(runs(sizes=2))
