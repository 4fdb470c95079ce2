"""Patch sizes with weights as text, such as 16,8,4 or 16:1,8:2, and the draw of a step's patch size."""

import math
from bisect import bisect
from collections.abc import Mapping
from itertools import accumulate
from typing import TypeVar

from scaling.errors import ConfigError
from scaling.rng import seed_of

T = TypeVar("T")


def parse_patches(text: str) -> dict[int, float]:
    """Patch sizes [px] and their weights, from coarse to fine, of a text such as 16,8,4 (weights 1) or 16:1,8:2. Raises
    ConfigError."""
    found: dict[int, float] = {}
    for part in text.split(","):
        size, colon, weight = (word.strip() for word in part.partition(":"))
        patch = parse_size(size, f"patches {text!r}: {part.strip()!r}", "16,8,4 or 16:1,8:2")
        number = _weight(weight, text) if colon else 1.0
        if patch in found:
            raise ConfigError(f"patches {text!r} names {size} twice; give it one larger weight, as {size}:2")
        found[patch] = number
    return dict(sorted(found.items(), reverse=True))


def parse_size(word: str, what: str, like: str) -> int:
    """A patch size [px]. what, like: for the error, the text and one that would do. Raises ConfigError."""
    if not (word.isascii() and word.isdecimal() and len(word) < 10 and int(word)):
        raise ConfigError(f"{what} is not a patch size; write {like}")
    return int(word)


def number_of(word: str) -> float:
    """nan for what is no number."""
    try:
        return float(word)
    except ValueError:
        return math.nan


def _weight(weight: str, text: str) -> float:
    number = number_of(weight)
    if not 0 < number < math.inf:
        raise ConfigError(f"patches {text!r}: the weight {weight!r} is not a number above 0")
    return number


def spelled(weights: Mapping[int, float]) -> str:
    """The one text of patch sizes and weights; equal weights are left out."""
    if len(set(weights.values())) == 1:
        return ",".join(map(str, weights))
    return ",".join(f"{patch}:{str(weight).removesuffix('.0')}" for patch, weight in weights.items())


def normalised(weights: Mapping[T, float]) -> dict[T, float]:
    """Weights divided by their sum."""
    total = math.fsum(weights.values())
    return {one: weight / total for one, weight in weights.items()}


def drawn(shares: Mapping[T, float], seed: int, step: int) -> T:
    """The one of the keys that a step draws, each as often as its share; the shares, each above 0, have the sum 1."""
    u = (seed_of(seed, "patch_size", step) >> 11) / 2**53
    ends = list(accumulate(shares.values()))
    return list(shares)[min(bisect(ends, u), len(ends) - 1)]
