"""Differences of claims: paired over seeds, with the interval of Student's t, and by Holm's correction."""

import math

import pandas as pd
import pytest

from analysis.claims.paired import compare, geometric_mean_of, mean_of, paired, widened, with_holm

T_2 = 4.302652729911275  # two-sided critical value of Student's t at 95 %, two degrees of freedom
OFF = (-0.01, 0.0, 0.01)  # of a difference between seeds, whose mean is 0 and whose standard deviation is 0.01
HALF = T_2 * 0.01 / math.sqrt(3)
LEVEL = (0.5, 0.9, 0.7)  # loss of a seed, which is no part of a difference


def series(*values):
    return pd.Series(values, range(len(values)))


def test_a_difference_is_paired_over_the_seeds_that_both_have():
    first = pd.Series({2: 1.2, 0: 1.0, 1: 1.1, 7: 99.0})
    one = paired("x", first, pd.Series({0: 1.11, 1: 1.20, 2: 1.29}))
    assert one[1:] == pytest.approx((0.1, 0.1 - HALF, 0.1 + HALF))


def test_fewer_than_three_seeds_or_equal_differences_have_no_interval():
    assert math.isnan(paired("x", series(1, 2), series(2, 4)).low)
    assert paired("x", series(1, 2), series(2, 4)).value == 1.5
    assert math.isnan(mean_of("x", series(0.5, 0.5, 0.5)).low)
    assert math.isnan(paired("x", series(), series(1, 2)).value)


def test_a_geometric_mean_is_that_of_logarithms_and_needs_all_seeds():
    one = geometric_mean_of("x", series(1, 10, 100))
    assert one.value == pytest.approx(10)
    assert one.high / one.value == pytest.approx(10 ** (T_2 / math.sqrt(3)))
    part = geometric_mean_of("x", series(1, 10, 100, math.nan))
    assert part.value == pytest.approx(10)
    assert math.isnan(part.low)
    assert math.isnan(geometric_mean_of("x", series(math.nan, math.nan)).value)


def test_an_interval_with_holm_leaves_out_0_exactly_where_the_adjusted_p_is_below_5_percent():
    """Two tests: the smaller p is doubled, the larger one is as it is, but not below the first."""
    base = series(*LEVEL)
    shifts = {"large": 0.1, "small": 0.01}
    family = {name: compare(base, base + shift + pd.Series(OFF)) for name, shift in shifts.items()}
    found = with_holm(family)
    assert found["small"].value == pytest.approx(0.01)
    assert found["small"].high - found["small"].low == pytest.approx(2 * HALF)
    wider = widened("large", family["large"], 2)
    assert found["large"][1:] == pytest.approx(wider[1:])
    t_97_5 = 6.205346816570  # at 97.5 %, two degrees of freedom
    assert wider.high - wider.value == pytest.approx(t_97_5 * 0.01 / math.sqrt(3))
    for name, one in found.items():
        adjusted = max(2 * family["large"].p, family[name].p if name == "small" else 0)
        assert (one.low <= 0 <= one.high) == (adjusted >= 0.05)
