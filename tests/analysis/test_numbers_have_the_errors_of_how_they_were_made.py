"""Rounded, counted and digitised numbers have standard errors, and laws fitted with them the right intervals."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from analysis.fitting.laws import fit
from analysis.records.error_models import binomial_error, rounding_error
from analysis.records.groups import published_groups


def test_rounding_is_uniform_within_half_a_digit():
    rng = np.random.default_rng(0)
    values = rng.uniform(70, 90, 200_000)
    assert rounding_error(0.1) == pytest.approx(np.std(np.round(values, 1) - values), rel=0.01)
    for digit in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="above 0"):
            rounding_error(digit)


def test_an_accuracy_on_n_images_is_binomial():
    assert binomial_error([20.0, 50.0], 400) == pytest.approx([binom.std(400, p) / 4 for p in (0.2, 0.5)])
    assert binomial_error(80.0, 50_000) == pytest.approx(0.1789, abs=1e-4)
    assert 0 < binomial_error(0.0, 100) == pytest.approx(binomial_error(100.0, 100))
    with pytest.raises(ValueError, match="percent holds 101"):
        binomial_error([50.0, 101.0], 10)
    with pytest.raises(ValueError, match="0 images"):
        binomial_error(50.0, 0)


def test_intervals_with_the_error_of_rounding_contain_the_truth_and_are_not_wide():
    """300 laws of errors [%] rounded to a tenth, nothing else: 95 of 100 would contain alpha; uniform errors have no
    tails, so somewhat more do."""
    rng, patch, inside = np.random.default_rng(0), np.array([16.0, 8, 4, 2, 1]), 0
    for _ in range(300):
        A, alpha = rng.uniform(1.0, 3.0), rng.uniform(0.3, 0.6)
        y = np.round(A * patch**alpha, 1)
        low, high = fit(patch, y, sigma=rounding_error(0.1) / y).intervals["alpha"]
        inside += low <= alpha <= high
    assert 0.92 <= inside / 300 <= 0.99


def test_published_numbers_have_errors_that_are_small_and_weigh_no_law():
    for group in published_groups():
        relative = group.points["number_error"] / group.points["y"]
        assert relative.between(1e-6, 0.02).all(), group.name
        assert group.sigma is None
