"""Step shapes: patch size and image size of every training step. Registered kinds: fixed, random_patch, patch_schedule.

A kind is a frozen dataclass with `kind` and three pure functions, `shapes`, `at` and `shares`: so a resumed run
continues with the very shapes, and every device and worker process computes the same ones.
"""

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, NamedTuple, Protocol

from scaling.config.fields import Bounds, check_fields, config_field
from scaling.config.patch_schedules import mean_shares, parse_schedule, patches_of, spelled_schedule
from scaling.config.patch_size import check_patch
from scaling.config.patch_weights import drawn, normalised, parse_patches, spelled
from scaling.errors import ConfigError

ALL = "all"  # RandomPatch.patches: the divisors of the image in a range


class StepShape(NamedTuple):
    """Patch size and image size that all images of a training step share."""

    patch_size: int  # [px]
    img_size: int  # [px]: side of the images, or of the crops, that a step is made of


Flops = Mapping[StepShape, float]  # of a training step per image, in any unit; empty: unknown


class Course(NamedTuple):
    """What the shape of a step may depend on besides the run's seed and the number of the step."""

    model: StepShape  # of ModelConfig, which the model is built and evaluated for
    total_steps: int  # of the whole run
    flops: Flops


class StepShapes(Protocol):
    """How the shape depends on the step."""

    kind: ClassVar[str]

    def shapes(self, model: StepShape) -> Collection[StepShape]:
        """All shapes that steps may have, each once. model: as in Course."""

    def at(self, seed: int, step: int, course: Course) -> StepShape:
        """The shape of step number `step` (from 0) of the run with this seed."""

    def shares(self, model: StepShape, flops: Flops) -> Mapping[StepShape, float]:
        """The expected share of a run's steps that have each shape; the sum is 1."""


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
    """Every step draws one patch size, so that one model learns all of them (FlexiViT, arXiv 2212.08013). The finest is
    the patch size of ModelConfig. The weights are those of all steps, as in the released trainer (big_vision,
    trainers/proj/flexi/train.py: config.flexi.seqhw.v and .p); the generator of the draws is ours."""

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
            object.__setattr__(self, "patches", spelled(parse_patches(self.patches)))

    def shapes(self, model: StepShape) -> Collection[StepShape]:
        return [StepShape(patch, model.img_size) for patch in self.weights(model)]

    def at(self, seed: int, step: int, course: Course) -> StepShape:
        return drawn(self.shares(course.model, course.flops), seed, step)

    def shares(self, model: StepShape, flops: Flops) -> Mapping[StepShape, float]:
        return _shares_of(self, model)

    def check_model(self, model: StepShape) -> None:
        """Raise ConfigError unless all patches divide the image and the finest is that of the model."""
        if not self.weights(model):
            rule = f"is below patch_size {model.patch_size}, the finest that is drawn"
            raise ConfigError(f"coarsest_patch {self.coarsest_patch} {rule}")
        _check_finest(f"patches {self.patches}", self.shapes(model), model)

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


@dataclass(frozen=True, kw_only=True)
class PatchSchedule:
    """Every step draws one patch size, with weights that change over the run, such as from coarse to fine. The finest
    is the patch size of ModelConfig. Source: ours (patch_schedules.py)."""

    kind: ClassVar[str] = "patch_schedule"
    patch_schedule: str = config_field(
        "patch sizes over a run: 16@0.3,8@0.6,4@1 trains at each up to this progress, 16..8..4 moves the weights from "
        "one to the next, with constant speed; 16:3,8:1..4 begins with weights",
        unit="px",
    )
    progress_in: str = config_field(
        "what the progress in patch_schedule is a share of: the steps of the run, or its FLOPs",
        "steps",
        choices=("steps", "flops"),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "patch_schedule", spelled_schedule(self.patch_schedule))

    def shapes(self, model: StepShape) -> Collection[StepShape]:
        return [StepShape(patch, model.img_size) for patch in patches_of(parse_schedule(self.patch_schedule))]

    def at(self, seed: int, step: int, course: Course) -> StepShape:
        steps = course.total_steps
        return drawn(self._shares(course.model, course.flops, step / steps, (step + 1) / steps), seed, step)

    def shares(self, model: StepShape, flops: Flops) -> Mapping[StepShape, float]:
        return self._shares(model, flops, 0.0, 1.0)

    def check_model(self, model: StepShape) -> None:
        """Raise ConfigError unless all patches divide the image and the finest is that of the model."""
        _check_finest(f"patch_schedule {self.patch_schedule}", self.shapes(model), model)

    def _shares(self, model: StepShape, flops: Flops, begin: float, end: float) -> dict[StepShape, float]:
        """Mean shares over the steps from `begin` to `end`, which are shares of the run's steps [1]."""
        by_patch = {shape.patch_size: one for shape, one in flops.items()} if self.progress_in == "flops" else None
        if by_patch == {}:
            raise ConfigError("progress_in flops needs a cost model, which this model has not: set --progress-in steps")
        found = mean_shares(parse_schedule(self.patch_schedule), begin, end, by_patch)
        return {StepShape(patch, model.img_size): share for patch, share in found.items()}


def _check_finest(what: str, shapes: Collection[StepShape], model: StepShape) -> None:
    for shape in shapes:
        check_patch(shape.img_size, shape.patch_size)
    finest = min(shape.patch_size for shape in shapes)
    if finest != model.patch_size:
        raise ConfigError(
            f"{what} has {finest} as its finest, and patch_size is {model.patch_size}; the model "
            f"is planned for the finest: set --patch-size {finest}"
        )


LEARNS_SEVERAL = (RandomPatch, PatchSchedule)  # kinds whose one model learns several patch sizes
STEP_SHAPES: dict[str, type] = {c.kind: c for c in (FixedShape, RandomPatch, PatchSchedule)}
