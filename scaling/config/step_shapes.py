"""Step shapes: patch size, image size and crop of every training step. Registered kinds: fixed, random_patch,
patch_schedule (step_schedule.py).

A kind is a frozen dataclass with `kind` and three pure functions, `shapes`, `at` and `shares`: so a resumed run
continues with the very shapes, and every device and worker process computes the same ones.
"""

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from scaling.config.fields import Bounds, check_fields, config_field
from scaling.config.patch_weights import drawn, normalised, parse_patches, spelled
from scaling.config.step_schedule import PatchSchedule
from scaling.config.step_shape import Course, Flops, StepShape, StepShapes, check_finest
from scaling.errors import ConfigError

__all__ = [
    "ALL",
    "STEP_SHAPES",
    "Course",
    "FixedShape",
    "Flops",
    "PatchSchedule",
    "RandomPatch",
    "StepShape",
    "StepShapes",
]

ALL = "all"  # RandomPatch.patches: the divisors of the image in a range


@dataclass(frozen=True, kw_only=True)
class FixedShape:
    """Every step has the patch size and the image size of ModelConfig."""

    kind: ClassVar[str] = "fixed"

    def shapes(self, model: StepShape) -> Collection[StepShape]:
        return (model,)

    def at(self, seed: int, step: int, course: Course) -> StepShape:
        return course.model

    def shares(self, model: StepShape, flops: Flops) -> Mapping[StepShape, float]:
        return {model: 1.0}


@dataclass(frozen=True, kw_only=True)
class RandomPatch:
    """Every step, or every image, draws one patch size, so that one model learns all of them (FlexiViT, arXiv
    2212.08013, where it is the step). The finest is the patch size of ModelConfig. The weights are those of all steps,
    as in the released trainer (big_vision, trainers/proj/flexi/train.py: config.flexi.seqhw.v and .p); the generator of
    the draws is ours."""

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
    patch_per: str = config_field(
        "what shares a drawn patch size: a step (all of its images, as in the paper) or an image (a step mixes sizes)",
        "step",
        choices=("step", "image"),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.patches != ALL:  # one spelling, so that equal recipes have one run ID
            object.__setattr__(self, "patches", spelled(parse_patches(self.patches)))

    def shapes(self, model: StepShape) -> Collection[StepShape]:
        return [StepShape(patch, model.img_size) for patch in self.weights(model)]

    def at(self, seed: int, step: int, course: Course) -> StepShape:
        return drawn(self.shares(course.model, course.flops), seed, step)

    def shares(self, model: StepShape, flops: Flops) -> Mapping[StepShape, float]:
        return _shares_of(self, model) if self.patch_per == "step" else {model: 1.0}

    def image_shares(self, model: StepShape) -> Mapping[StepShape, float]:
        """The expected share of a step's images that have each shape, from coarse to fine, where each draws its own."""
        return _shares_of(self, model)

    def check_model(self, model: StepShape) -> None:
        """Raise ConfigError unless all patches divide the image and the finest is that of the model."""
        if not self.weights(model):
            rule = f"is below patch_size {model.patch_size}, the finest that is drawn"
            raise ConfigError(f"coarsest_patch {self.coarsest_patch} {rule}")
        check_finest(f"patches {self.patches}", self.shapes(model), model)

    def weights(self, model: StepShape) -> dict[int, float]:
        """Weights of the patch sizes that are drawn, from coarse to fine; empty where none is."""
        if self.patches != ALL:
            return parse_patches(self.patches)
        most = min(self.coarsest_patch, model.img_size)
        return {p: 1.0 for p in range(most, model.patch_size - 1, -1) if model.img_size % p == 0}


@functools.lru_cache(maxsize=64)  # every step draws from them
def _shares_of(drawn_from: RandomPatch, model: StepShape) -> Mapping[StepShape, float]:
    shares = normalised(drawn_from.weights(model))
    return MappingProxyType({StepShape(patch, model.img_size): share for patch, share in shares.items()})


STEP_SHAPES: dict[str, type] = {c.kind: c for c in (FixedShape, RandomPatch, PatchSchedule)}
