"""Step shapes: patch size and image size of every training step. Registered kinds: fixed, random_patch.

A kind is a frozen dataclass with `kind` and two pure functions, `at` and `shares`: so a resumed run continues with the
very shapes, and every device and worker process computes the same ones.
"""

import functools
import math
from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, NamedTuple, Protocol

from scaling.config.fields import Bounds, check_fields, config_field
from scaling.config.model import check_patch
from scaling.errors import ConfigError
from scaling.rng import seed_of

ALL = "all"  # RandomPatch.patches: the divisors of the image in a range


class StepShape(NamedTuple):
    """Patch size and image size that all images of a training step share."""

    patch_size: int  # [px]
    img_size: int  # [px]: side of the images, or of the crops, that a step is made of


class StepShapes(Protocol):
    """How the shape depends on the step."""

    kind: ClassVar[str]

    def at(self, seed: int, step: int, model: StepShape) -> StepShape:
        """The shape of step number `step` (from 0) of the run with this seed. model: the shape of ModelConfig, which
        the model is built and evaluated for."""

    def shares(self, model: StepShape) -> Mapping[StepShape, float]:
        """The expected share of the steps that have each shape; the sum is 1."""


@dataclass(frozen=True, kw_only=True)
class FixedShape:
    """Every step has the patch size and the image size of ModelConfig."""

    kind: ClassVar[str] = "fixed"

    def at(self, seed: int, step: int, model: StepShape) -> StepShape:
        return model

    def shares(self, model: StepShape) -> Mapping[StepShape, float]:
        return {model: 1.0}


@dataclass(frozen=True, kw_only=True)
class RandomPatch:
    """Every step draws one patch size, so that one model learns all of them (FlexiViT, arXiv 2212.08013). The finest is
    the patch size of ModelConfig."""

    kind: ClassVar[str] = "random_patch"
    patches: str = config_field(
        "patch sizes that training steps draw from, as 16,8,4, or with weights as 16:1,8:2,4:2; all: the divisors of "
        "the image from patch_size to coarsest_patch",
        ALL,
        unit="px",
    )
    coarsest_patch: int = config_field(
        "coarsest patch that training steps draw where patches is all (48 with patch_size 8 at 240 px: the ten "
        "patch sizes of the paper)",
        48,
        unit="px",
        bounds=Bounds(at_least=1),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.patches != ALL:  # one spelling, so that equal recipes have one run ID
            object.__setattr__(self, "patches", _spelled(parse_patches(self.patches)))

    def at(self, seed: int, step: int, model: StepShape) -> StepShape:
        shapes, ends = _cumulated(self, model)
        u = (seed_of(seed, "patch_size", step) >> 11) / 2**53
        return shapes[min(bisect(ends, u), len(shapes) - 1)]

    def shares(self, model: StepShape) -> Mapping[StepShape, float]:
        weights = self._divisors(model) if self.patches == ALL else parse_patches(self.patches)
        total = math.fsum(weights.values())
        return {StepShape(patch, model.img_size): weight / total for patch, weight in weights.items()}

    def check_model(self, model: StepShape) -> None:
        """Raise ConfigError unless all patches divide the image and the finest is that of the model."""
        shapes = self.shares(model)
        for shape in shapes:
            check_patch(shape.img_size, shape.patch_size)
        finest = min((shape.patch_size for shape in shapes), default=0)
        if not finest:
            rule = f"is below patch_size {model.patch_size}, the finest that is drawn"
            raise ConfigError(f"coarsest_patch {self.coarsest_patch} {rule}")
        if finest != model.patch_size:
            raise ConfigError(
                f"patches {self.patches} has {finest} as its finest, and patch_size is {model.patch_size}; the model "
                f"is planned for the finest: set --patch-size {finest}"
            )

    def _divisors(self, model: StepShape) -> dict[int, float]:
        most = min(self.coarsest_patch, model.img_size)
        return {p: 1.0 for p in range(most, model.patch_size - 1, -1) if model.img_size % p == 0}


@functools.lru_cache
def _cumulated(shapes: RandomPatch, model: StepShape) -> tuple[list[StepShape], list[float]]:
    """The shapes, and where the interval of each ends in [0, 1]."""
    shares = shapes.shares(model)
    return list(shares), list(accumulate(shares.values()))


def parse_patches(text: str) -> dict[int, float]:
    """Patch sizes [px] and their weights, from coarse to fine, of a text such as 16,8,4 (weights 1) or 16:1,8:2. Raises
    ConfigError."""
    found: dict[int, float] = {}
    for part in text.split(","):
        size, colon, weight = (word.strip() for word in part.partition(":"))
        if not (size.isascii() and size.isdecimal() and len(size) < 10 and int(size)):
            raise ConfigError(f"patches {text!r}: {part.strip()!r} is not a patch size; write 16,8,4 or 16:1,8:2")
        number = _weight(weight, text) if colon else 1.0
        if int(size) in found:
            raise ConfigError(f"patches {text!r} names {size} twice; give it one larger weight, as {size}:2")
        found[int(size)] = number
    return dict(sorted(found.items(), reverse=True))


def _weight(weight: str, text: str) -> float:
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ConfigError(f"patches {text!r}: the weight {weight!r} is not a number above 0")
    return number


def _spelled(weights: Mapping[int, float]) -> str:
    """The one text of patch sizes and weights; equal weights are left out."""
    if len(set(weights.values())) == 1:
        return ",".join(map(str, weights))
    return ",".join(f"{patch}:{str(weight).removesuffix('.0')}" for patch, weight in weights.items())


STEP_SHAPES: dict[str, type] = {c.kind: c for c in (FixedShape, RandomPatch)}
