"""Weights of patch sizes that change over a run: schedules as text, and their means over parts of the run.

A schedule is a sequence of stretches, each with shares of the patch sizes at its beginning and its end, between which
the shares move linearly with progress. Progress, from 0 to 1, is the share of the steps, or of the FLOPs, of the run.

Source: ours. FlexiViT (arXiv 2212.08013) reports a gain from a curriculum, but neither prints its schedule nor releases
it: the trainer that is released draws with constant weights (big_vision, trainers/proj/flexi/train.py at 0127fb6),
which is the kind random_patch.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from scaling.config.patch_weights import normalised, number_of, parse_patches, parse_size, spelled
from scaling.errors import ConfigError

Shares = Mapping[int, float]  # of patch sizes [px]; the sum is 1
RAMP, END = "..", "@"
ROUNDING = 1e-12  # a part of a run shorter than this is the rounding of a bound [share of the steps]
LIKE = "16@0.3,8@0.6,4@1 (patch and progress at its end) or 16..8..4 (a ramp)"


class Stretch(NamedTuple):
    """A part of a run in which shares of the steps move linearly with progress."""

    end: float  # progress; it begins at the end of the stretch before [1]
    first: Shares
    last: Shares


@functools.lru_cache(maxsize=64)  # every step asks
def parse_schedule(text: str) -> tuple[Stretch, ...]:
    """The stretches of a text, of which there are two kinds: 16@0.3,8@0.6,4@1 has one patch size in each, up to the
    progress after the @; 16..8..4 moves from all steps at 16 px through 8 px to 4 px in stretches of equal length, and
    16:3,8:1..8:1,4:3 from weights to weights. Raises ConfigError."""
    return _ramp(text) if END not in text else _pure(text)


def _ramp(text: str) -> tuple[Stretch, ...]:
    knots = [normalised(parse_patches(part)) for part in text.split(RAMP)]
    if len(knots) == 1:
        return (Stretch(1.0, knots[0], knots[0]),)
    ways = len(knots) - 1
    return tuple(Stretch(k / ways, first, last) for k, (first, last) in enumerate(pairwise(knots), start=1))


def _pure(text: str) -> tuple[Stretch, ...]:
    found: list[Stretch] = []
    before, patch_before = 0.0, 0
    for part in text.split(","):
        size, _, progress = (word.strip() for word in part.partition(END))
        patch = parse_size(size, f"patch_schedule {text!r}: {size!r}", LIKE)
        end = _progress(progress, text)
        if end <= before:
            raise ConfigError(f"patch_schedule {text!r}: {patch} px ends at {end}, which is not after {before}")
        if patch == patch_before:
            raise ConfigError(f"patch_schedule {text!r} has {patch} px twice in a row; make it one stretch")
        found.append(Stretch(end, {patch: 1.0}, {patch: 1.0}))
        before, patch_before = end, patch
    if before != 1:
        raise ConfigError(f"patch_schedule {text!r} ends at {before}; the last stretch ends at 1, as {patch_before}@1")
    return tuple(found)


def _progress(word: str, text: str) -> float:
    number = number_of(word)
    if not 0 < number <= 1:
        raise ConfigError(f"patch_schedule {text!r}: {word!r} is not a progress above 0 and up to 1; write {LIKE}")
    return number


def spelled_schedule(text: str) -> str:
    """The one spelling of a schedule, so that equal recipes have one run ID. Raises ConfigError."""
    stretches = parse_schedule(text)
    if END not in text:
        return RAMP.join(spelled(parse_patches(part)) for part in text.split(RAMP))
    return ",".join(f"{next(iter(one.first))}{END}{str(one.end).removesuffix('.0')}" for one in stretches)


def patches_of(stretches: Sequence[Stretch]) -> list[int]:
    """All patch sizes, from coarse to fine [px]."""
    return sorted({patch for stretch in stretches for patch in (*stretch.first, *stretch.last)}, reverse=True)


def mean_shares(
    stretches: Sequence[Stretch], begin: float, end: float, flops: Mapping[int, float] | None
) -> dict[int, float]:
    """Mean shares of the patch sizes over the steps from `begin` to `end`, which are shares of the run's steps [1].

    flops: of a training step by patch size, where progress is the share of the FLOPs; None: of the steps. The means of
    consecutive parts have the mean of the whole run, exactly: a step that two stretches meet in belongs to both."""
    found = dict.fromkeys(patches_of(stretches), 0.0)
    for stretch, (low, high) in zip(stretches, pairwise(_step_bounds(stretches, flops)), strict=True):
        start, stop = max(begin, low), min(end, high)
        if stop - start < ROUNDING:
            continue
        if (start, stop) == (begin, end) and stretch.first == stretch.last:
            return dict(stretch.first)
        place = _mean_progress(stretch, (start - low) / (high - low), (stop - low) / (high - low), flops)
        part = (stop - start) / (end - begin)
        for patch, share in stretch.first.items():
            found[patch] += part * (1 - place) * share
        for patch, share in stretch.last.items():
            found[patch] += part * place * share
    return {patch: share for patch, share in found.items() if share > 0}


def _step_bounds(stretches: Sequence[Stretch], flops: Mapping[int, float] | None) -> list[float]:
    """Where stretches begin and end, as shares of the steps [1]."""
    bounds = [0.0, *(stretch.end for stretch in stretches)]
    if flops is None:
        return bounds
    lengths = zip(stretches, pairwise(bounds), strict=True)
    steps = list(accumulate((high - low) / _mean_cost(stretch, flops) for stretch, (low, high) in lengths))
    return [0.0, *(one / steps[-1] for one in steps)]


def _cost(shares: Shares, flops: Mapping[int, float] | None) -> float:
    return 1.0 if flops is None else math.fsum(share * flops[patch] for patch, share in shares.items())


def _mean_cost(stretch: Stretch, flops: Mapping[int, float] | None) -> float:
    """FLOPs of a stretch divided by its steps. In FLOPs the cost c of a step moves linearly with progress x, so that
    the steps are the integral of dx / c: the logarithmic mean of the costs at both ends."""
    first, last = _cost(stretch.first, flops), _cost(stretch.last, flops)
    return first if math.isclose(first, last, rel_tol=1e-7) else (last - first) / math.log(last / first)


def _mean_progress(stretch: Stretch, begin: float, end: float, flops: Mapping[int, float] | None) -> float:
    """Mean progress within a stretch over its steps from `begin` to `end`; all are shares of the stretch [1]. By steps
    s, progress in FLOPs is (r^s - 1) / (r - 1), where r is the ratio of the costs at both ends."""
    first, last = _cost(stretch.first, flops), _cost(stretch.last, flops)
    if math.isclose(first, last, rel_tol=1e-7):
        return (begin + end) / 2
    rate = math.log(last / first)
    here = rate * (end - begin)
    return (math.exp(rate * begin) * math.expm1(here) / here - 1) / math.expm1(rate)
