"""Points are weighed by their errors: given, or estimated from seeds and shrunk."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit
from scipy.special import polygamma
from scipy.stats import norm

from analysis.fitting.bootstrap import bootstrap
from analysis.fitting.laws import fit, fit2
from analysis.fitting.model_selection import compare_forms, hold_out
from analysis.fitting.weights import _trigamma_inverse, seed_sigmas, shrunk

PATCH = np.array([16.0, 8, 4, 2, 1])
GROWING = np.geomspace(0.002, 0.03, 5)
TRUTH = {"A": 0.6, "alpha": 0.4}


def noisy(sigma, seeds=1, seed=0):
    """Points of a power law with relative errors sigma (5,)."""
    rng, x = np.random.default_rng(seed), np.repeat(PATCH, seeds)
    return x, TRUTH["A"] * x ** TRUTH["alpha"] * np.exp(np.repeat(sigma, seeds) * rng.normal(size=len(x)))


def test_a_power_law_with_standard_errors_is_the_textbook_s_weighted_regression():
    x, y = noisy(GROWING)
    law = fit(x, y, sigma=GROWING)
    X, weight = np.stack([np.ones(5), np.log(x)], axis=1), np.diag(GROWING**-2)
    covariance = np.linalg.inv(X.T @ weight @ X)
    log_A, alpha = covariance @ X.T @ weight @ np.log(y)
    assert (law.parameters["A"], law.parameters["alpha"]) == pytest.approx((np.exp(log_A), alpha), rel=1e-9)
    residual = np.log(y) - X @ [log_A, alpha]
    assert law.residuals == pytest.approx(residual)
    assert law.lack_of_fit.statistic == pytest.approx(residual @ weight @ residual)
    assert not law.lack_of_fit.significant
    half = norm.ppf(0.975) * np.sqrt(covariance[1, 1])
    assert law.intervals["alpha"] == pytest.approx((alpha - half, alpha + half), rel=1e-5)


def test_a_shifted_law_with_standard_errors_is_that_of_scipy():
    sigma = GROWING[::-1] / 3
    y = (0.4 + 0.3 * PATCH**0.6) * np.exp(sigma * np.random.default_rng(1).normal(size=5))
    law = fit(PATCH, y, "shifted", sigma=sigma)

    def log_law(x, L_inf, A, alpha):
        return np.log(L_inf + A * x**alpha)

    found, covariance = curve_fit(log_law, PATCH, np.log(y), [0.4, 0.3, 0.6], sigma, absolute_sigma=True)
    assert list(law.parameters.values()) == pytest.approx(found, rel=1e-6)
    half = norm.ppf(0.975) * np.sqrt(np.diag(covariance))
    for value, width, (low, high) in zip(found, half, law.intervals.values(), strict=True):
        assert (high - low) / 2 == pytest.approx(width, rel=0.05)  # to first order the same
        assert low < value < high


def test_equal_standard_errors_change_the_intervals_and_not_the_law():
    x, y = noisy(np.full(5, 0.02))
    equal, plain = fit(x, y, sigma=np.full(5, 0.02)), fit(x, y)
    assert equal.parameters == pytest.approx(plain.parameters, rel=1e-9)
    assert np.ptp(equal.intervals["alpha"]) != pytest.approx(np.ptp(plain.intervals["alpha"]), rel=0.01)


def test_a_point_of_half_the_error_counts_as_four():
    y = noisy(GROWING)[1]
    one = fit(PATCH, y, sigma=[0.02, 0.02, 0.01, 0.02, 0.02])
    four = fit([16, 8, 4, 4, 4, 4, 2, 1], y[[0, 1, 2, 2, 2, 2, 3, 4]], sigma=[0.02] * 8)
    assert one.parameters == pytest.approx(four.parameters, rel=1e-9)
    assert one.intervals["A"] == pytest.approx(four.intervals["A"], rel=1e-6)


@pytest.mark.parametrize(("space", "loss"), [("linear", "squares"), ("log", "huber")])
def test_a_point_of_great_error_has_no_say(space, loss):
    y = noisy(np.full(5, 0.001))[1]
    wrong = y * [1, 1, 1.5, 1, 1]
    law = fit(PATCH, wrong, space=space, loss=loss, sigma=[0.001, 0.001, 10, 0.001, 0.001])
    assert law.parameters["alpha"] == pytest.approx(TRUTH["alpha"], abs=0.005)


def test_laws_of_two_variables_and_held_out_predictions_take_them():
    N, p = (grid.ravel() for grid in np.meshgrid([1e6, 4e6, 1.6e7], PATCH))
    y, sigma = 0.5 + 120 * N**-0.35 + 0.03 * p**0.9, np.full(15, 0.01)
    y[7], sigma[7] = 2 * y[7], 100.0
    law = fit2(N, p, y, "joint", sigma=sigma)
    assert law.parameters["b"] == pytest.approx(0.9, rel=1e-3)
    x, y = noisy(GROWING)
    held = hold_out(x, y, "power", sigma=GROWING)
    assert held.predicted == pytest.approx(fit(x[:4], y[:4], sigma=GROWING[:4]).predict(1.0)[0])


def test_resampled_points_keep_their_weights_and_known_errors_their_size():
    x, y = noisy(GROWING, seeds=2)
    sigma = np.repeat(GROWING, 2)
    law = fit(x, y, sigma=sigma)
    ends = bootstrap(law, draws=2000).intervals()["alpha"]
    assert ends == pytest.approx(law.intervals["alpha"], abs=0.1 * np.ptp(law.intervals["alpha"]))
    pairs = bootstrap(law, "pairs", draws=300)
    assert pairs.failed == 0
    assert pairs.parameters["alpha"].std() < 3 * np.ptp(ends)


@pytest.mark.parametrize(
    ("sigma", "why"),
    [
        ([0.01] * 4, "5 y but 4 sigma; every y needs a standard error, or none"),
        ([0.01, 0, 0.01, 0.01, 0.01], "sigma holds 0; every value must be finite and above 0"),
        ([0.01, np.nan, 0.01, 0.01, 0.01], "sigma holds nan; "),
        ([1e-9, 1, 1, 1, 1], "sigma ranges from 1e-09 to 1, a factor of more than 1e+06"),
    ],
)
def test_errors_that_are_none_are_refused(sigma, why):
    with pytest.raises(ValueError, match=why.replace("+", r"\+")):
        fit(PATCH, noisy(GROWING)[1], sigma=sigma)


def test_forms_that_weigh_the_points_differently_are_not_compared():
    x, y = noisy(GROWING)
    with pytest.raises(ValueError, match="the laws weigh the points differently"):
        compare_forms([fit(x, y), fit(x, y, "shifted", sigma=GROWING)])


def test_seeds_of_one_spread_have_equal_weights_and_the_textbook_s_interval():
    off = np.array([-0.01, 0.0, 0.01])
    x, y = np.repeat(PATCH, 3), np.outer(TRUTH["A"] * PATCH ** TRUTH["alpha"], np.exp(off)).ravel()
    law = fit(x, y)
    assert np.ptp(law.problem.weight_N) == 0
    assert seed_sigmas(np.log(x)[None], np.log(y)) is None


def test_seeds_of_unequal_spread_weigh_by_it_between_equal_and_inverse_variance():
    x, y = noisy(GROWING, seeds=5)
    law = fit(x, y)
    weight_P = law.problem.weight_N[::5] ** 2
    spread_P = np.log(y).reshape(5, 5).std(axis=1, ddof=1) ** -2
    assert np.mean(law.problem.weight_N**2) == pytest.approx(1)
    assert np.array_equal(np.argsort(weight_P), np.argsort(spread_P))
    assert 3 < weight_P.max() / weight_P.min() < spread_P.max() / spread_P.min()
    assert np.isnan(law.problem.sigma)


def test_two_seeds_or_one_are_pooled():
    for seeds in (1, 2):
        assert seed_sigmas(np.log(noisy(GROWING, seeds)[0])[None], np.log(noisy(GROWING, seeds)[1])) is None


def test_the_inverse_of_trigamma_is_one():
    values = np.geomspace(1e-5, 1e4, 50)
    assert polygamma(1, _trigamma_inverse(values)) == pytest.approx(values, rel=1e-9)


def by_hand(variances, d):
    """Smyth 2004, section 6.2, for one number of degrees of freedom, with d0 by bisection."""
    from scipy.optimize import brentq
    from scipy.special import psi

    e = np.log(variances) - psi(d / 2) + np.log(d / 2)
    beyond = e.var(ddof=1) - polygamma(1, d / 2)
    if beyond <= 1e-6:
        return np.full(len(variances), np.mean(variances))
    d0 = 2 * np.exp(brentq(lambda log: float(polygamma(1, np.exp(log))) - beyond, -20, 20))
    s0 = np.exp(e.mean() + psi(d0 / 2) - np.log(d0 / 2))
    return (d0 * s0 + d * variances) / (d0 + d)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=8), st.integers(2, 6))
def test_shrunk_variances_are_those_of_the_source_and_lie_between_the_estimates(variances, df):
    variance_P = np.array(variances)
    found = shrunk(variance_P[None], np.full(len(variance_P), df))[0]
    assert found == pytest.approx(by_hand(variance_P, df), rel=1e-6)
    in_order = found[np.argsort(variance_P)]
    assert (np.diff(in_order) >= -1e-9 * in_order[:-1]).all()  # equal but for the last bits, or rising
    assert np.ptp(np.log(found)) <= np.ptp(np.log(variance_P)) + 1e-9
