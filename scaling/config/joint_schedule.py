"""Schedules of patch size, image size and crop as one: the shares of what steps have of all three.

At any progress at most one of them may be drawn from several values. The shares of all three together are then linear
in progress, as those of each are, and their means are exact (schedules.py).
"""

import functools
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from scaling.config.patch_weights import CROP, IMAGE, PATCH, Size
from scaling.config.schedules import ROUNDING, Stretch, parse_schedule
from scaling.errors import ConfigError


class Sizes(NamedTuple):
    """What a step has of each."""

    patch: int  # [px]
    image: int  # side that the whole image has [px]
    crop: float  # share of the side [1]


@functools.lru_cache(maxsize=64)  # every step asks
def joint_schedule(patch: str, image: str, crop: str, cycles: int) -> tuple[Stretch[Sizes], ...]:
    """The stretches of texts as parse_schedule reads them, all of them `cycles` times. Raises ConfigError."""
    of_patch, of_image = parse_schedule(patch, PATCH), parse_schedule(image, IMAGE)
    of_crop = parse_schedule(crop, CROP)
    once: list[Stretch[Sizes]] = []
    for low, high in pairwise([0.0, *_ends([one.end for one in (*of_patch, *of_image, *of_crop)])]):
        parts = _part(of_patch, low, high), _part(of_image, low, high), _part(of_crop, low, high)
        several = [name for name, (first, last) in zip((PATCH.name, IMAGE.name, CROP.name), parts, strict=True)
                   if len({*first, *last}) > 1]  # fmt: skip
        if len(several) > 1:
            raise ConfigError(
                f"{' and '.join(several)} both draw from several values at progress {low:g} to {high:g}; give one of "
                "them stretches of one value, as 16@0.5,32@1"
            )
        at_first, at_last = (_product(*(part[k] for part in parts)) for k in (0, 1))
        once.append(Stretch(high, at_first, at_last))
    if cycles == 1:
        return tuple(once)
    return tuple(Stretch((k + one.end) / cycles, one.first, one.last) for k in range(cycles) for one in once)


def _ends(ends: Sequence[float]) -> list[float]:
    """Each once, ascending; what differs by rounding is one."""
    found: list[float] = []
    for end in sorted(ends):
        if not found or end - found[-1] > ROUNDING:
            found.append(end)
    return found


def _part(
    stretches: Sequence[Stretch[Size]], low: float, high: float
) -> tuple[Mapping[Size, float], Mapping[Size, float]]:
    """Shares at two progresses within one stretch [1]."""
    begin = 0.0
    for stretch in stretches:
        if high <= stretch.end + ROUNDING:
            return _between(stretch, begin, low), _between(stretch, begin, high)
        begin = stretch.end
    raise ValueError(f"no stretch from {low} to {high}")


def _between(stretch: Stretch[Size], begin: float, progress: float) -> Mapping[Size, float]:
    place = (progress - begin) / (stretch.end - begin)
    if stretch.first == stretch.last or place < ROUNDING:
        return stretch.first
    if place > 1 - ROUNDING:
        return stretch.last
    found: dict[Size, float] = {size: (1 - place) * share for size, share in stretch.first.items()}
    for size, share in stretch.last.items():
        found[size] = found.get(size, 0.0) + place * share
    return found


def _product(
    patch: Mapping[int, float], image: Mapping[int, float], crop: Mapping[float, float]
) -> Mapping[Sizes, float]:
    return {
        Sizes(p, i, c): of_p * of_i * of_c
        for p, of_p in patch.items()
        for i, of_i in image.items()
        for c, of_c in crop.items()
    }
