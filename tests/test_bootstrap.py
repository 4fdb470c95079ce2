"""Bootstraps: each refit is what fit finds for those data, and their spread is the spread of what might have been."""

import numpy as np
import pytest

from analysis.bootstrap import KINDS, bootstrap, seed_error
from analysis.laws import fit, fit2, general

PATCH = np.array([16.0, 8, 4, 2, 1])


def measured(seeds: int = 1, noise: float = 0.01, seed: int = 0):
    rng = np.random.default_rng(seed)
    x = np.repeat(PATCH, seeds)
    return x, (0.4 + 0.3 * x**0.6) * np.exp(noise * rng.normal(size=len(x)))


@pytest.mark.parametrize("loss", ["squares", "huber"])
def test_every_refit_is_the_fit_of_its_data(loss):
    """Against fit with all its starts, on the same draws."""
    x, y = measured()
    law = fit(x, y, "shifted", loss=loss)
    drawn = bootstrap(law, draws=30)
    spread = drawn.spread * np.random.default_rng(0).standard_normal((30, 5))
    for row, off in zip(drawn.parameters.to_dict("records"), spread, strict=True):
        again = fit(x, law.predict(x) * np.exp(off), "shifted", loss=loss)
        assert row == pytest.approx(again.parameters, rel=1e-3, abs=1e-6)


def test_parametric_draws_spread_as_regression_says():
    """A power law is linear in logs: the standard error of alpha is known."""
    x, y = measured(noise=0.02)
    law = fit(x, y, "power", loss="squares")
    drawn = bootstrap(law)
    size = np.sqrt(law.loss / 3)
    error = size / np.sqrt(np.sum((np.log(x) - np.log(x).mean()) ** 2))
    assert drawn.spread == pytest.approx(size)
    assert drawn.parameters["alpha"].std() == pytest.approx(error, rel=0.05)
    assert drawn.parameters["alpha"].mean() == pytest.approx(law.parameters["alpha"], abs=4 * error / np.sqrt(4000))
    assert (drawn.asked, drawn.failed, len(drawn.parameters)) == (4000, 0, 4000)


def test_seed_noise_is_pooled_over_patch_sizes_and_is_the_size_of_the_draws():
    x, y = measured(seeds=3, noise=0.03)
    law = fit(x, y, "shifted")
    logs = np.log(y).reshape(5, 3)
    pooled = np.sqrt(np.sum((logs - logs.mean(axis=1, keepdims=True)) ** 2) / 10)
    assert seed_error(law) == (pytest.approx(pooled), 10)
    assert bootstrap(law, "seeds", draws=50).spread == pytest.approx(pooled)


def test_pairs_keep_points_together_and_their_number():
    x, y = measured(seeds=2)
    law = fit(x, y, "power", loss="squares")
    drawn = bootstrap(law, "pairs", draws=200)
    assert drawn.failed == 0
    low, high = drawn.intervals()["alpha"]
    assert low < law.parameters["alpha"] < high
    assert drawn.parameters["alpha"].nunique() > 150


def test_the_same_seed_gives_the_same_draws():
    law = fit(*measured(), "shifted")
    one, two, other = (bootstrap(law, draws=20, seed=seed).parameters for seed in (1, 1, 2))
    assert one.equals(two)
    assert not one.equals(other)


def test_a_band_of_draws_holds_the_law_and_intervals_grow_with_confidence():
    law = fit(*measured(), "shifted")
    drawn = bootstrap(law, draws=500)
    low, high = drawn.band([0.5, 1, 16])
    assert np.all((low < law.predict([0.5, 1, 16])) & (law.predict([0.5, 1, 16]) < high))
    assert np.ptp(drawn.intervals(0.5)["alpha"]) < np.ptp(drawn.intervals(0.95)["alpha"])


def test_two_variables_are_drawn_alike():
    rng = np.random.default_rng(0)
    N, D = np.exp(rng.uniform(15, 23, 30)), np.exp(rng.uniform(20, 26, 30))
    loss = general(N, D, 1.8, 480.0, 0.35, 2000.0, 0.36) * np.exp(0.005 * rng.normal(size=30))
    drawn = bootstrap(fit2(N, D, loss), draws=100)
    assert list(drawn.parameters) == ["E", "A", "a", "B", "b"]
    low, high = drawn.intervals()["a"]
    assert low < 0.35 < high
    assert drawn.band([1e9], [1e10])[0].shape == (1,)


def test_what_was_given_is_no_column():
    x, y = measured()
    assert list(bootstrap(fit(x, y, "shifted", given={"L_inf": 0.4}), draws=10).parameters) == ["A", "alpha"]


@pytest.mark.parametrize(
    ("points", "form", "kind", "says"),
    [
        (5, "shifted", "pairs", "5 points are too few to draw pairs from, 8 are needed"),
        (7, "power", "pairs", "7 points are too few"),
        (5, "shifted", "seeds", "5 points at 5 different x: no two seeds"),
        (3, "shifted", "parametric", "3 points, 3 parameters: residuals have no size"),
        (5, "power", "wild", f"unknown kind 'wild'; there is: {', '.join(KINDS)}"),
    ],
)
def test_a_bootstrap_that_would_mislead_is_refused_with_the_reason(points, form, kind, says):
    x = 2.0 ** np.arange(points)
    law = fit(x, 0.4 + 0.3 * x**0.6 * (1 + 0.01 * (-1) ** np.arange(points)), form)
    with pytest.raises(ValueError, match=says):
        bootstrap(law, kind)


def test_laws_of_linear_space_and_no_draws_are_refused():
    x, y = measured()
    with pytest.raises(ValueError, match="fitted in linear space"):
        bootstrap(fit(x, y, "power", space="linear"))
    with pytest.raises(ValueError, match="0 draws; 1 or more"):
        bootstrap(fit(x, y, "power"), draws=0)
