"""The cost model's two efficiencies: what ten hours say of each."""

import numpy as np
import pytest

from analysis.planning.throughput_model import TABLE6, _misses, calibrate, share_intervals
from experiments.planning.plan_report import residual_lines, shares_line


def test_products_are_identified_and_traffic_is_not():
    (low, high), (slow, fast) = share_intervals()["products"], share_intervals()["traffic"]
    assert low < TABLE6.attention < high < 0.5
    assert slow < TABLE6.traffic < 1 < fast
    assert (slow, fast) == pytest.approx((0.46, 3.7), rel=0.03)  # standard errors, symmetric, would say 0.38 to 1.74


def test_the_ends_are_where_the_profile_says_and_not_before():
    """By brute force over the other share."""
    misses, df = _misses(), 8
    best = calibrate()
    least = float(np.sum(misses(np.log([best.attention, best.traffic])) ** 2))
    for end in share_intervals()["traffic"]:
        others = np.log(np.linspace(0.2, 0.6, 4001))
        squares = min(float(np.sum(misses(np.array([other, np.log(end)])) ** 2)) for other in others)
        assert (squares / least - 1) * df == pytest.approx(2.306**2, rel=1e-2)


def test_the_plan_prints_an_interval_and_no_value_for_traffic():
    assert shares_line() in residual_lines()
    assert "traffic [0." in shares_line()
    assert "? (not identified, the interval reaches 1)" in shares_line()
    assert f"products {TABLE6.attention:.2f} [" in shares_line()
    assert "0.81" not in shares_line()
