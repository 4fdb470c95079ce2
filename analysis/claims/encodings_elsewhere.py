"""Estimates of claims that compare rules and position encodings at other grids (study E2), at once (k = 0 steps):
losses [nats], paired over seeds, each backbone, encoding and side by itself."""

import math
from collections.abc import Callable, Sequence

import pandas as pd

from analysis.claims.measured import NAMES
from analysis.claims.moved import LARGER, each, moved
from analysis.claims.paired import compare, paired, widened
from analysis.claims.verdict import Estimate
from analysis.studies.transfer import DIRECT

INTERPOLATED, EXTRAPOLATED = "interpolate", "extrapolate"
FARTHEST = 3  # times the side


def extrapolated_over_interpolated(found: pd.DataFrame) -> list[Estimate]:
    """Loss by extrapolated positions less that by interpolated ones, of sine and rotary positions."""
    return [
        paired(one.at(side, EXTRAPOLATED), one.losses(INTERPOLATED, side), one.losses(EXTRAPOLATED, side))
        for one in each(found)
        if EXTRAPOLATED in one.rules
        for side in LARGER
    ]


def most_over_least(found: pd.DataFrame) -> list[Estimate]:
    """The highest less the lowest loss of an encoding at 3 times the side, sine and rotary positions extrapolated: of
    the two by their means over seeds, with Bonferroni's correction for the number of pairs."""
    estimates = []
    for backbone, its in found.groupby("backbone", sort=False):
        losses = {}
        for one in each(its):
            rule = EXTRAPOLATED if EXTRAPOLATED in one.rules else one.rules[0]
            losses[one.encoding] = one.losses(rule, FARTHEST)
        order = sorted(losses, key=lambda encoding: losses[encoding].mean())
        least, most = order[0], order[-1]
        what = f"{NAMES[str(backbone)]}, {FARTHEST} times the side: {most} less {least}"
        estimates.append(widened(what, compare(losses[least], losses[most]), math.comb(len(losses), 2)))
    return estimates


def over_another(found: pd.DataFrame, encodings: Sequence[str], other: str) -> list[Estimate]:
    """Loss less that at the own side, with each of these encodings, less the same with another one; each by its first
    rule, at larger sides."""
    others = {one.backbone: one for one in each(found) if one.encoding == other}
    return [
        paired(f"{one.at(side)}: less {other}", others[one.backbone].over_own(side), one.over_own(side))
        for one in each(found)
        if one.encoding in encodings
        for side in LARGER
    ]


def spread_over_own(found: pd.DataFrame) -> list[Estimate]:
    """Standard deviation between the losses of a seed with each encoding, by first rules, at larger sides less that at
    the own side."""
    estimates = []
    for backbone, its in found.groupby("backbone", sort=False):
        own = pd.concat([one.losses(DIRECT, 1) for one in each(its)], axis=1).dropna().std(axis=1)
        for side in LARGER:
            there = pd.concat([one.losses(one.rules[0], side) for one in each(its)], axis=1).dropna().std(axis=1)
            estimates.append(paired(f"{NAMES[str(backbone)]}, {side:g} times the side", own, there))
    return estimates


def _of(data: str) -> dict[str, Callable[[], list[Estimate]]]:
    """data: the end of the file's name."""
    return {
        "extrapolated_over_interpolated": lambda: extrapolated_over_interpolated(moved(data)),
        "most_over_least_encoding": lambda: most_over_least(moved(data)),
        "learned_over_sincos_elsewhere": lambda: over_another(moved(data), ["learned"], "sincos"),
        "relative_over_learned_elsewhere": lambda: over_another(moved(data), ["relative", "relative_mlp"], "learned"),
        "spread_over_own_side": lambda: spread_over_own(moved(data)),
    }


ESTIMATES, ON_CIFAR10 = _of("shapes"), _of("cifar10")
