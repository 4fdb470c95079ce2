"""L(N, p, D) on synthetic runs with known truth: the law, its intervals, isoFLOP curves and directions."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from analysis.fitting.laws import fit3
from analysis.fitting.model_patch_images import AT, CANDIDATES, fit_one_model, fit_sizes, hold_out_largest
from analysis.planning.isoflop import best_patches, directions, isoflop, place_of, verdict
from experiments.benchmarks.size_law_checks import TRUTHS, law, synthetic, true_best, true_changes


@pytest.mark.parametrize("form", CANDIDATES)
def test_without_noise_the_form_and_the_truth_are_found(form):
    found = fit_sizes(synthetic(form, 0, noise=0.0, seeds=1), draws=5)
    assert found.law.form == form
    assert found.law.parameters == pytest.approx(TRUTHS[form], rel=1e-3)


def test_no_optimiser_gets_below_the_additive_fit():
    runs = synthetic("additive", 1, noise=0.05, seeds=1)
    z_AN = np.log(runs[list(AT)].to_numpy().T) - np.log(runs[list(AT)].to_numpy().T).mean(1, keepdims=True)

    def residual(q):
        terms = np.exp(q[1] - q[2] * z_AN[0]) + np.exp(q[3] + q[4] * z_AN[1]) + np.exp(q[5] - q[6] * z_AN[2])
        return np.log(q[0] ** 2 + terms) - np.log(runs["y"])

    rng = np.random.default_rng(0)
    starts = rng.normal(size=(10, 7)) * 0.3 + [0.5, -1, 0.5, -1, 0.5, -1, 0.5]
    best = min(2 * least_squares(residual, start, max_nfev=300).cost for start in starts)
    assert fit3(*(runs[name] for name in AT), runs["y"], "additive").loss <= best * (1 + 1e-6)


@pytest.mark.parametrize("form", CANDIDATES)
def test_directions_are_those_of_the_true_law(form):
    found = fit_sizes(synthetic(form, 0, noise=1e-6), draws=20)
    steps, true = directions(found, place_of(found.points)), true_changes(form, found)
    assert steps["change"].to_numpy() == pytest.approx(true, rel=1e-2)
    assert steps["factor"].to_numpy() == pytest.approx([2, 2, 0.5**0.5])
    assert steps["beyond"].all()  # from the largest model at the smallest patch and greatest length
    assert verdict(steps) == f"{steps['direction'][int(np.argmin(true))]} lowers the loss most"


@pytest.mark.parametrize("form", CANDIDATES)
def test_isoflop_curves_take_the_best_model_at_each_patch_by_brute_force(form):
    found = fit_sizes(synthetic(form, 0, noise=1e-6), draws=20)
    table = isoflop(found)
    runs = found.points.drop_duplicates("model")
    for row in table.itertuples():
        at = runs.assign(patch=row.patch, images=row.budget / (3 * 2 * runs["parameters"] * 256 / row.patch**2))
        at = at[(at["images"] >= 2e3) & (at["images"] <= 1.28e5)]
        assert row.predicted == pytest.approx(law(form, at).min(), rel=1e-3)
    assert table.groupby("budget")["share"].sum().to_numpy() == pytest.approx(1.0)
    best = best_patches(table)
    assert best["patch"].tolist() == true_best(form, found)
    ends = table.groupby("budget")["patch"].agg(["min", "max"]).to_numpy()
    assert best["edge"].tolist() == [pick in pair for pick, pair in zip(best["patch"], ends, strict=True)]
    assert ((best["finest"] <= best["patch"]) & (best["patch"] <= best["coarsest"])).all()


def test_intervals_hold_the_truth_nearly_always():
    held = []
    for seed in range(6):
        found = fit_sizes(synthetic("additive", seed), draws=100, seed=seed)
        rows = directions(found, place_of(found.points)).itertuples()
        held += [row.low <= true <= row.high for row, true in zip(rows, true_changes("additive", found), strict=True)]
        ends = found.draws.intervals()
        held += [low <= TRUTHS["additive"][name] <= high for name, (low, high) in ends.items()]
    assert np.mean(held) > 0.75


def test_large_noise_is_undecided():
    found = fit_sizes(synthetic("additive", 3, noise=0.3), draws=60)
    assert verdict(directions(found, place_of(found.points))).startswith("undecided")


def test_the_law_predicts_the_largest_model_better_than_naive_rules():
    held = hold_out_largest(fit_sizes(synthetic("additive", 0, noise=0.002), draws=5))
    assert held is not None
    assert held.model == "m640000"
    assert held.law < min(held.last, held.half)
    assert hold_out_largest(fit_sizes(synthetic("additive", 0, sizes=3), draws=5)) is None


def test_the_naive_rules_are_the_last_loss_and_half_of_the_last_gain():
    runs = synthetic("additive", 0, noise=0.0)
    runs = runs.assign(y=runs["parameters"].map({1e4: 4.0, 4e4: 3.0, 1.6e5: 2.0, 6.4e5: 1.6}) + runs["patch"] / 1e6)
    held = hold_out_largest(fit_sizes(runs, draws=5))
    assert (held.last, held.half) == pytest.approx((2 / 1.6 - 1, 1 - 1.5 / 1.6), rel=1e-3)


def test_one_model_has_a_law_of_patch_and_images_and_two_directions():
    runs = synthetic("joint", 0, noise=1e-4)
    found = fit_one_model(runs, draws=50)
    assert found.law.parameters == pytest.approx(TRUTHS["joint"], rel=0.02)
    steps = directions(found, place_of(runs))
    assert steps["direction"].tolist() == ["train longer", "shrink the patch"]
    assert steps["change"].to_numpy() == pytest.approx(true_changes("joint", found), rel=0.02)
    assert (isoflop(found)["model"] == "m10000").all()


def test_too_few_sizes_patches_and_lengths_are_refused_with_the_number_that_is_needed():
    runs = synthetic("additive", 0)
    with pytest.raises(ValueError, match="2 model sizes, and 3 are needed"):
        fit_sizes(synthetic("additive", 0, sizes=2))
    with pytest.raises(ValueError, match="2 patch sizes, and 3 are needed"):
        fit_sizes(runs[runs["patch"] > 4])
    with pytest.raises(ValueError, match="1 length, and 3 are needed"):
        fit_one_model(runs[runs["images"] == 4e3])
