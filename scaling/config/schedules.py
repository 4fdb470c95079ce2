"""Sizes that change over a run, such as patch sizes: schedules as text, and their means over parts of the run.

A schedule is a sequence of stretches, each with shares of the sizes at its beginning and its end, between which the
shares move linearly with progress. Progress, from 0 to 1, is the share of the steps, or of the FLOPs, of the run.

Source: ours. FlexiViT (arXiv 2212.08013) reports a gain from a curriculum, but neither prints its schedule nor releases
it: the trainer that is released draws with constant weights (big_vision, trainers/proj/flexi/train.py at 0127fb6),
which is the kind random_patch. PGPS (arXiv 2407.07853, 2510.23241) lets crops grow.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Generic, TypeVar

from scaling.config.patch_weights import Axis, Size, normalised, number_of, parse_value, parse_weights, plain, spelled
from scaling.errors import ConfigError

Key = TypeVar("Key")
RAMP, END = "..", "@"
ROUNDING = 1e-12  # a part of a run shorter than this is the rounding of a bound [share of the steps]
DIGITS = 12  # of sums of shares


@dataclass(frozen=True)
class Stretch(Generic[Key]):
    """A part of a run in which shares of the steps move linearly with progress. Shares have the sum 1."""

    end: float  # progress; it begins at the end of the stretch before [1]
    first: Mapping[Key, float]
    last: Mapping[Key, float]


@functools.lru_cache(maxsize=64)  # every step asks
def parse_schedule(text: str, axis: Axis[Size]) -> tuple[Stretch[Size], ...]:
    """The stretches of a text. Of patch sizes, for example, 16@0.3,8@0.6,4@1 has one patch size in each stretch, up to
    the progress after the @; 16@0.3,8@0.3,4@0.4, where these numbers have the sum 1, is the same, by the lengths of
    stretches; 16..8..4 moves from all steps at 16 px through 8 px to 4 px in stretches of equal length, and
    16:3,8:1..8:1,4:3 from weights to weights. Raises ConfigError."""
    return _ramp(text, axis) if END not in text else _pure(text, axis)


def _ramp(text: str, axis: Axis[Size]) -> tuple[Stretch[Size], ...]:
    knots = [normalised(parse_weights(part, axis)) for part in text.split(RAMP)]
    if len(knots) == 1:
        return (Stretch(1.0, knots[0], knots[0]),)
    ways = len(knots) - 1
    return tuple(Stretch(k / ways, first, last) for k, (first, last) in enumerate(pairwise(knots), start=1))


def _pure(text: str, axis: Axis[Size]) -> tuple[Stretch[Size], ...]:
    what = f"{axis.name} {text!r}"
    words = [[word.strip() for word in part.partition(END)] for part in text.split(",")]
    sizes = [parse_value(size, axis, f"{what}: {size!r}", axis.schedule) for size, _, _ in words]
    for size, after in pairwise(sizes):
        if size == after:
            raise ConfigError(f"{what} has {plain(size)}{axis.unit} twice in a row; make it one stretch")
    ends = _ends([_progress(number, what, axis) for _, _, number in words], sizes, what, axis)
    return tuple(Stretch(end, {size: 1.0}, {size: 1.0}) for size, end in zip(sizes, ends, strict=True))


def _ends(numbers: list[float], sizes: Sequence[Size], what: str, axis: Axis[Size]) -> list[float]:
    """The progress at the end of every stretch, of such numbers or of the lengths of stretches. The two cannot be taken
    for each other: the last number is 1, or the sum is."""
    ends = [round(end, DIGITS) for end in accumulate(numbers)]
    if numbers[-1] != 1 and ends[-1] == 1 and all(before < end for before, end in pairwise(ends)):
        return ends
    for size, (before, end) in zip(sizes, pairwise([0.0, *numbers]), strict=True):
        if end <= before:
            raise ConfigError(
                f"{what}: {plain(size)}{axis.unit} ends at {end}, which is not after {before}; as lengths of stretches "
                f"the numbers have the sum {ends[-1]:g}, not 1"
            )
    if numbers[-1] != 1:
        raise ConfigError(
            f"{what} ends at {numbers[-1]}; the last stretch ends at 1, as {plain(sizes[-1])}@1, or the numbers are "
            f"lengths of stretches with the sum 1, not {ends[-1]:g}"
        )
    return numbers


def _progress(word: str, what: str, axis: Axis[Size]) -> float:
    number = number_of(word)
    if not 0 < number <= 1:
        raise ConfigError(f"{what}: {word!r} is not a progress above 0 and up to 1; write {axis.schedule}")
    return number


def spelled_schedule(text: str, axis: Axis[Size]) -> str:
    """The one spelling of a schedule, so that equal recipes have one run ID. Raises ConfigError."""
    stretches = parse_schedule(text, axis)
    if END not in text:
        return RAMP.join(spelled(parse_weights(part, axis)) for part in text.split(RAMP))
    return ",".join(f"{plain(next(iter(one.first)))}{END}{plain(one.end)}" for one in stretches)


def keys_of(stretches: Sequence[Stretch[Key]]) -> set[Key]:
    """All that stretches have shares of."""
    return {key for stretch in stretches for key in (*stretch.first, *stretch.last)}


def mean_shares(
    stretches: Sequence[Stretch[Key]], begin: float, end: float, flops: Mapping[Key, float] | None
) -> dict[Key, float]:
    """Mean shares of the sizes over the steps from `begin` to `end`, which are shares of the run's steps [1].

    flops: of a training step by size, where progress is the share of the FLOPs; None: of the steps. The means of
    consecutive parts have the mean of the whole run, exactly: a step that two stretches meet in belongs to both."""
    found: dict[Key, float] = {}
    for stretch, (low, high) in zip(stretches, pairwise(step_bounds(stretches, flops)), strict=True):
        start, stop = max(begin, low), min(end, high)
        if stop - start < ROUNDING:
            continue
        if (start, stop) == (begin, end) and stretch.first == stretch.last:
            return dict(stretch.first)
        place = _mean_progress(stretch, (start - low) / (high - low), (stop - low) / (high - low), flops)
        part = (stop - start) / (end - begin)
        for size, share in stretch.first.items():
            found[size] = found.get(size, 0.0) + part * (1 - place) * share
        for size, share in stretch.last.items():
            found[size] = found.get(size, 0.0) + part * place * share
    return {size: share for size, share in found.items() if share > 0}


def step_bounds(stretches: Sequence[Stretch[Key]], flops: Mapping[Key, float] | None) -> list[float]:
    """Where stretches begin and end, as shares of the steps [1]. flops: as in mean_shares."""
    bounds = [0.0, *(stretch.end for stretch in stretches)]
    if flops is None:
        return bounds
    lengths = zip(stretches, pairwise(bounds), strict=True)
    steps = list(accumulate((high - low) / _mean_cost(stretch, flops) for stretch, (low, high) in lengths))
    return [0.0, *(one / steps[-1] for one in steps)]


def _cost(shares: Mapping[Key, float], flops: Mapping[Key, float] | None) -> float:
    return 1.0 if flops is None else math.fsum(share * flops[size] for size, share in shares.items())


def _mean_cost(stretch: Stretch[Key], flops: Mapping[Key, float] | None) -> float:
    """FLOPs of a stretch divided by its steps. In FLOPs the cost c of a step moves linearly with progress x, so that
    the steps are the integral of dx / c: the logarithmic mean of the costs at both ends."""
    first, last = _cost(stretch.first, flops), _cost(stretch.last, flops)
    return first if math.isclose(first, last, rel_tol=1e-7) else (last - first) / math.log(last / first)


def _mean_progress(stretch: Stretch[Key], begin: float, end: float, flops: Mapping[Key, float] | None) -> float:
    """Mean progress within a stretch over its steps from `begin` to `end`; all are shares of the stretch [1]. By steps
    s, progress in FLOPs is (r^s - 1) / (r - 1), where r is the ratio of the costs at both ends."""
    first, last = _cost(stretch.first, flops), _cost(stretch.last, flops)
    if math.isclose(first, last, rel_tol=1e-7):
        return (begin + end) / 2
    rate = math.log(last / first)
    here = rate * (end - begin)
    return (math.exp(rate * begin) * math.expm1(here) / here - 1) / math.expm1(rate)
