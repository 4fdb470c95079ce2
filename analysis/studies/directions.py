"""Direction of a schedule: runs that see small patches first against runs that see large ones first.

Two comparisons, each of runs with the same seeds, evaluated at the same patch sizes, and with equal training FLOPs:

- reversed: one schedule is the other from its end, so that FLOPs, images and shares of patch sizes are equal too;
- same end: two halves, the second one at the same patch size; the first is finer in one run and coarser in the other.

The difference is loss with small patches first, less loss with large ones first [nats]: a mean over seeds with a 95 %
interval of Student's t. A direction is better where the interval lies beyond MARGIN, none where it lies within.
"""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

import pandas as pd

from analysis.records.seed_noise import difference
from scaling.config.patch_weights import PATCH
from scaling.config.schedules import parse_schedule

MARGIN = 0.02  # [nats]
COMPARED = ["backbone", "comparison", "small_first", "large_first", "patch", "difference", "low", "high", "verdict"]
ONCE = re.compile(r"(\d+@[\d.]+,?)+")  # a schedule of one patch size at a time, gone through once
Halves = tuple[tuple[int, float], ...]  # patch size [px] and share of the steps of each stretch


def directions(losses: pd.DataFrame) -> pd.DataFrame:
    """COMPARED, a row per backbone, pair of schedules and patch size that both were evaluated at [px].

    losses: of order_by_patch.losses_by_patch.  Without two seeds of both there is no interval, and the verdict is
    untested."""
    rows = []
    for backbone, its in losses[losses["order"].map(ONCE.fullmatch).astype(bool)].groupby("backbone", sort=False):
        of_parts = {stretches_of(str(order)): runs for order, runs in its.groupby("order", sort=False)}
        for comparison, small, large in _pairs(list(of_parts)):
            first, second = of_parts[large], of_parts[small]
            for patch in sorted({*first["patch"]} & {*second["patch"]}, reverse=True):
                ours, theirs = (one[one["patch"] == patch].set_index("seed")["test_loss"] for one in (second, first))
                found = difference(theirs, ours)
                texts = second["order"].iloc[0], first["order"].iloc[0]
                ends = found.mean, found.low, found.high
                rows.append([backbone, comparison, *texts, patch, *ends, verdict(found.low, found.high)])
    return pd.DataFrame(rows, columns=COMPARED)


def stretches_of(order: str) -> Halves:
    """The stretches of a schedule as ONCE."""
    found = parse_schedule(order, PATCH)
    ends = pairwise([0.0, *(one.end for one in found)])
    return tuple((next(iter(one.first)), round(end - begin, 9)) for one, (begin, end) in zip(found, ends, strict=True))


def _pairs(schedules: Sequence[Halves]) -> Iterator[tuple[str, Halves, Halves]]:
    """Comparisons: the name, the schedule with small patches first, the one with large ones first."""
    for one, other in combinations(schedules, 2):
        small, large = (one, other) if one[0][0] < other[0][0] else (other, one)
        if one == other[::-1] and len(one) > 1:
            yield "reversed", small, large
        end, finer, coarser = small[-1], small[0][0], large[0][0]
        if len(small) == len(large) == 2 and end == large[-1] and finer < end[0] < coarser:
            yield "same end", small, large


def verdict(low: float, high: float) -> str:
    """Of the ends of an interval [nats]."""
    if math.isnan(low):
        return "untested"
    if low > MARGIN:
        return "large first is better"
    if high < -MARGIN:
        return "small first is better"
    return "no difference" if low > -MARGIN and high < MARGIN else "undecided"


def printed_directions(table: pd.DataFrame) -> pd.DataFrame:
    """One backbone's comparisons as text."""
    numbers = table[["difference", "low", "high"]].to_numpy(float).tolist()
    interval = [
        f"{mean:+.3f}" + ("" if math.isnan(low) else f" [{low:+.3f}, {high:+.3f}]") for mean, low, high in numbers
    ]
    schedules = table["small_first"].str.replace(r"@[\d.]+", "", regex=True)
    named = table["comparison"] + ": " + schedules.str.replace(",", "-")
    columns = {"small first": named, "at [px]": table["patch"], "less large first [nats]": interval}
    return pd.DataFrame({**columns, "verdict": table["verdict"]})
