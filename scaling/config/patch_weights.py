"""Sizes with weights as text, such as 16,8,4 or 16:1,8:2, and the draw of a step's shape."""

import math
from bisect import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Generic, TypeVar

from scaling.errors import ConfigError
from scaling.rng import seed_of

T = TypeVar("T")
Size = TypeVar("Size", int, float)


@dataclass(frozen=True)
class Axis(Generic[Size]):
    """What a text has values of."""

    name: str  # of the field
    noun: str  # of a value, with its rule
    unit: str
    parse: Callable[[str], Size | None]  # of a word; None: it is not a value
    weights: str  # texts that would do, of values with weights
    schedule: str  # and of a schedule


def _size(word: str) -> int | None:
    return int(word) if word.isascii() and word.isdecimal() and len(word) < 10 and int(word) else None


def _share(word: str) -> float | None:
    return number if 0 < (number := number_of(word)) <= 1 else None


PATCHES = Axis[int]("patches", "a patch size", " px", _size, "16,8,4 or 16:1,8:2", "")
PATCH = replace(
    PATCHES,
    name="patch_schedule",
    schedule="16@0.3,8@0.6,4@1 (patch and progress at its end), 16@0.3,8@0.3,4@0.4 (its share) or 16..8..4 (a ramp)",
)
IMAGE = Axis[int]("image_schedule", "an image size", " px", _size, "16,32", "16@0.5,32@1 or 16..32")
CROP = Axis[float](
    "crop_schedule", "a share of the side above 0 and up to 1", "", _share, "0.5,1", "0.5@0.5,1@1 or 0.5..1"
)


def parse_patches(text: str) -> dict[int, float]:
    """Patch sizes [px] and their weights, from coarse to fine, as parse_weights reads them."""
    return parse_weights(text, PATCHES)


def parse_weights(text: str, axis: Axis[Size]) -> dict[Size, float]:
    """Sizes and their weights, from large to small, of a text such as 16,8,4 (weights 1) or 16:1,8:2. Raises
    ConfigError."""
    found: dict[Size, float] = {}
    for part in text.split(","):
        size, colon, weight = (word.strip() for word in part.partition(":"))
        value = parse_value(size, axis, f"{axis.name} {text!r}: {part.strip()!r}", axis.weights)
        number = _weight(weight, text, axis) if colon else 1.0
        if value in found:
            raise ConfigError(f"{axis.name} {text!r} names {size} twice; give it one larger weight, as {size}:2")
        found[value] = number
    return dict(sorted(found.items(), reverse=True))


def parse_value(word: str, axis: Axis[Size], what: str, like: str) -> Size:
    """what, like: for the error, the text and one that would do. Raises ConfigError."""
    value = axis.parse(word)
    if value is None:
        raise ConfigError(f"{what} is not {axis.noun}; write {like}")
    return value


def number_of(word: str) -> float:
    """nan for what is no number."""
    try:
        return float(word)
    except ValueError:
        return math.nan


def _weight(weight: str, text: str, axis: Axis[Size]) -> float:
    number = number_of(weight)
    if not 0 < number < math.inf:
        raise ConfigError(f"{axis.name} {text!r}: the weight {weight!r} is not a number above 0")
    return number


def spelled(weights: Mapping[Size, float]) -> str:
    """The one text of sizes and weights; equal weights are left out."""
    if len(set(weights.values())) == 1:
        return ",".join(map(plain, weights))
    return ",".join(f"{plain(size)}:{plain(weight)}" for size, weight in weights.items())


def plain(number: float) -> str:
    """Whole numbers without a point."""
    return str(number).removesuffix(".0")


def normalised(weights: Mapping[T, float]) -> dict[T, float]:
    """Weights divided by their sum."""
    total = math.fsum(weights.values())
    return {one: weight / total for one, weight in weights.items()}


def drawn(shares: Mapping[T, float], seed: int, step: int) -> T:
    """The one of the keys that a step draws, each as often as its share; the shares, each above 0, have the sum 1."""
    return at_share(shares, (seed_of(seed, "patch_size", step) >> 11) / 2**53)


def at_share(shares: Mapping[T, float], u: float) -> T:
    """The key within whose share u lies, in [0, 1); the shares, each above 0, have the sum 1."""
    ends = list(accumulate(shares.values()))
    return list(shares)[min(bisect(ends, u), len(ends) - 1)]
