"""What an interval decides about a claimed range, on synthetic intervals."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.claims.verdict import Estimate, Range, Verdict, decide, decide_all, exact

NUMBERS = st.floats(-1e6, 1e6)
MARGINS = st.floats(0, 1e3)


def ordered(first, second):
    return min(first, second), max(first, second)


RANGES = st.builds(lambda a, b: Range(*ordered(a, b)), NUMBERS, NUMBERS) | st.builds(
    lambda a, up: Range(a, math.inf) if up else Range(-math.inf, a), NUMBERS, st.booleans()
)
ESTIMATES = st.builds(lambda a, b: Estimate("x", (a + b) / 2, *ordered(a, b)), NUMBERS, NUMBERS)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.03, 0.09, Verdict.SUPPORTED),
        (0.02, 0.09, Verdict.SUPPORTED),
        (0.01, 0.09, Verdict.UNDECIDED),
        (-0.01, 0.01, Verdict.UNDECIDED),
        (-0.09, 0.09, Verdict.UNDECIDED),
        (-0.09, -0.02, Verdict.UNDECIDED),
        (-0.09, -0.03, Verdict.CONTRADICTED),
        (math.nan, math.nan, Verdict.UNDECIDED),
    ],
)
def test_a_claim_above_zero_with_a_margin(low, high, verdict):
    assert decide(Estimate("difference", 0.0, low, high), Range(0, math.inf), 0.02) == verdict


@given(ESTIMATES, RANGES, MARGINS)
def test_a_verdict_is_that_of_all_points_of_the_widened_interval(estimate, claimed, margin):
    """By its ends and by the ends of the range that lie within it: between these nothing changes."""
    low, high = estimate.low - margin, estimate.high + margin
    points = [low, high, *(end for end in claimed if low <= end <= high)]
    beside = [math.nextafter(end, side) for end in claimed for side in (-math.inf, math.inf)]
    points += [point for point in beside if low <= point <= high]
    within = [claimed.low <= point <= claimed.high for point in points]
    expected = Verdict.SUPPORTED if all(within) else Verdict.UNDECIDED if any(within) else Verdict.CONTRADICTED
    assert decide(estimate, claimed, margin) == expected


@given(ESTIMATES, RANGES, MARGINS, MARGINS)
def test_a_wider_interval_decides_no_more(estimate, claimed, margin, more):
    before, after = decide(estimate, claimed, margin), decide(estimate, claimed, margin + more)
    assert after in (before, Verdict.UNDECIDED)


@given(ESTIMATES, NUMBERS, MARGINS)
def test_of_opposite_claims_one_is_supported_where_the_other_is_contradicted(estimate, end, margin):
    above, below = (decide(estimate, its, margin) for its in (Range(end, math.inf), Range(-math.inf, end)))
    if Verdict.CONTRADICTED in (above, below):
        assert {above, below} == {Verdict.SUPPORTED, Verdict.CONTRADICTED}


@given(st.lists(ESTIMATES, min_size=1, max_size=5), RANGES, MARGINS)
def test_several_estimates_decide_only_together(estimates, claimed, margin):
    each = {decide(estimate, claimed, margin) for estimate in estimates}
    assert decide_all(estimates, claimed, margin) == (each.pop() if len(each) == 1 else Verdict.UNDECIDED)


@given(NUMBERS, RANGES)
def test_an_exact_number_is_always_decided(value, claimed):
    within = claimed.low <= value <= claimed.high
    assert decide(exact("x", value), claimed) == (Verdict.SUPPORTED if within else Verdict.CONTRADICTED)
