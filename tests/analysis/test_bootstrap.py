"""Bootstraps: each refit is what fit finds for those data, and their spread is the spread of what might have been."""

import warnings

import numpy as np
import pytest
from scipy.stats import bartlett
from scipy.stats import t as student

from analysis.fitting.bootstrap import KINDS, bootstrap
from analysis.fitting.laws import fit, fit2
from analysis.fitting.lineshapes import general
from analysis.fitting.seed_error import seed_error, uneven_seeds

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
    rng = np.random.default_rng(0)
    normal = rng.standard_normal((30, 5))
    spread = drawn.spread * np.sqrt(2 / rng.chisquare(2, (30, 1))) * normal
    for row, off in zip(drawn.parameters.to_dict("records"), spread, strict=True):
        again = fit(x, law.predict(x) * np.exp(off), "shifted", loss=loss)
        assert row == pytest.approx(again.parameters, rel=1e-3, abs=1e-6)


def test_an_interval_that_ends_among_infinite_refits_has_no_end_and_no_warning():
    """As where a law is fitted to patch sizes that do not determine it."""
    x, y = measured()
    drawn = bootstrap(fit(x, y, "power"), draws=30)
    drawn.parameters.loc[:20, "A"] = np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        low, high = drawn.intervals()["A"]
    assert np.isfinite(low)
    assert np.isnan(high)


def test_intervals_of_parametric_draws_are_those_of_regression():
    """A power law is linear in logs: the t interval of alpha is known."""
    x, y = measured(noise=0.02)
    law = fit(x, y, "power")
    drawn = bootstrap(law, draws=8000)
    size = np.sqrt(law.loss / 3)
    error = size / np.sqrt(np.sum((np.log(x) - np.log(x).mean()) ** 2))
    assert drawn.spread == pytest.approx(size)
    for confidence in (0.5, 0.95):
        low, high = drawn.intervals(confidence)["alpha"]
        reach = student.ppf((1 + confidence) / 2, 3) * error
        assert (low, high) == pytest.approx(
            (law.parameters["alpha"] - reach, law.parameters["alpha"] + reach), abs=0.1 * reach
        )
    assert (drawn.asked, drawn.failed, len(drawn.parameters)) == (8000, 0, 8000)


def test_seeds_of_every_x_have_noise_of_their_own():
    """Where noise grows from 0.2 to 3 % the pooled size says too little of the noisy end; a power law's A, at x = 1."""
    rng = np.random.default_rng(3)
    x = np.repeat(PATCH, 4)
    noise = np.repeat(np.geomspace(0.002, 0.03, 5), 4)
    drawn = {}
    for order in (1, -1):
        law = fit(x, 0.6 * x**0.4 * np.exp(noise[::order] * rng.normal(size=20)), "power")
        low, high = bootstrap(law, "seeds", draws=2000).intervals()["A"]
        drawn[order] = np.log(high / low)
    assert drawn[1] > 1.6 * drawn[-1]


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
        (5, "shifted", "pairs", "5 points are too few to resample pairs, 8 are needed"),
        (7, "power", "pairs", "7 points are too few"),
        (5, "shifted", "seeds", "5 points at 5 different x: no x has two seeds"),
        (3, "shifted", "parametric", "3 points, 3 parameters: no degrees of freedom"),
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


def test_seeds_that_differ_in_their_spread_are_noticed_as_scipy_does():
    rng = np.random.default_rng(0)
    x = np.repeat(PATCH, 4)
    even = 0.6 * x**0.4 * np.exp(0.01 * rng.normal(size=20))
    uneven = 0.6 * x**0.4 * np.exp(np.repeat(np.geomspace(0.03, 0.002, 5), 4) * rng.normal(size=20))
    for y in (even, uneven):
        low, high, p = uneven_seeds(fit(x, y))
        assert p == pytest.approx(bartlett(*np.log(y).reshape(5, 4)).pvalue)
        spreads = np.log(y).reshape(5, 4).std(axis=1, ddof=1)
        assert (low, high) == pytest.approx((spreads.min(), spreads.max()))
    assert p < 0.01
    assert uneven_seeds(fit(*measured())) is None
