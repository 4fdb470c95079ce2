"""Verdicts: what an interval decides about the values that a claim predicts.

A claim predicts values in a closed interval `claimed`. An estimate supports it where its interval, widened by the
margin, lies in `claimed`, and contradicts it where the widened interval has no value in common with `claimed`. With a
claim "above 0" and a margin of 0.02, an interval above 0.02 supports and one below -0.02 contradicts. Everything else
is undecided, as is an estimate without an interval. A claim with several estimates has a verdict only if all of them
have it, so that each can have an interval of 95 % by itself.
"""

import math
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple


class Verdict(Enum):
    """Of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"
    NOT_TESTABLE = "not testable"


class Range(NamedTuple):
    """Values from low to high, both included; -inf and inf: without an end."""

    low: float
    high: float


class Estimate(NamedTuple):
    """A computed or measured number; low, high: its 95 % interval, nan where there is none, value where it is exact."""

    what: str  # it is of
    value: float
    low: float
    high: float


def exact(what: str, value: float) -> Estimate:
    """A number without an error, such as a number of tokens."""
    return Estimate(what, value, value, value)


def decide(estimate: Estimate, claimed: Range, margin: float = 0.0) -> Verdict:
    """What one estimate decides. margin: >= 0, in the units of the estimate."""
    low, high = estimate.low - margin, estimate.high + margin
    if math.isnan(low) or math.isnan(high):
        return Verdict.UNDECIDED
    if claimed.low <= low and high <= claimed.high:
        return Verdict.SUPPORTED
    if high < claimed.low or low > claimed.high:
        return Verdict.CONTRADICTED
    return Verdict.UNDECIDED


def decide_all(estimates: Sequence[Estimate], claimed: Range, margin: float = 0.0) -> Verdict:
    """The verdict that all estimates share; undecided where they differ. estimates: one or more."""
    verdicts = {decide(estimate, claimed, margin) for estimate in estimates}
    return verdicts.pop() if len(verdicts) == 1 else Verdict.UNDECIDED
