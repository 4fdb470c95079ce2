"""Step shapes: patch size, image size and crop of every training step, and with them the images that it has. Registered
kinds: fixed, random_patch, patch_schedule.

A kind is a frozen dataclass with `kind` and three pure functions, `shapes`, `at` and `shares`: so a resumed run
continues with the very shapes, and every device and worker process computes the same ones.
"""

import functools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import ClassVar, NamedTuple, Protocol

from scaling.config.fields import Bounds, check_fields, config_field
from scaling.config.joint_schedule import Sizes, joint_schedule
from scaling.config.patch_size import check_patch
from scaling.config.patch_weights import CROP, IMAGE, PATCH, drawn, normalised, parse_patches, spelled
from scaling.config.schedules import Stretch, keys_of, mean_shares, spelled_schedule, step_bounds
from scaling.errors import ConfigError

ALL = "all"  # RandomPatch.patches: the divisors of the image in a range


class StepShape(NamedTuple):
    """Patch size and image size that all images of a training step share."""

    patch_size: int  # [px]
    img_size: int  # [px]: side of the images, or of the crops, that a step is made of
    cropped_from: int = 0  # [px]: side of the training image that a crop of a schedule lies in; 0: it is the whole

    @property
    def tokens(self) -> int:
        """Patches of an image."""
        return (self.img_size // self.patch_size) ** 2

    @property
    def crop(self) -> float:
        """Share of the side of the training image [1]."""
        return self.img_size / self.cropped_from if self.cropped_from else 1.0


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

    def check_model(self, model: StepShape, batch: int) -> None:
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
    """Patch size, image size and crop of the steps change over the run, such as from coarse to fine; where a schedule
    has several values at a time every step draws one. The finest patch and the largest image are those of ModelConfig.
    Source: ours (schedules.py). The kind's name is of when patches alone had a schedule: run IDs are made of it."""

    kind: ClassVar[str] = "patch_schedule"
    patch_schedule: str = config_field(
        "patch sizes over a run: 16@0.3,8@0.6,4@1 trains at each up to this progress (16@0.3,8@0.3,4@0.4, whose sum is "
        "1, for this part of the run), 16..8..4 moves the weights from one to the next, with constant speed; "
        "16:3,8:1..4 begins with weights; default: patch_size",
        "",
        unit="px",
    )
    image_schedule: str = config_field(
        "sides of the training images over a run, written as patch_schedule; default: img_size", "", unit="px"
    )
    crop_schedule: str = config_field(
        "shares of the side of the training images that a random crop has over a run, written as patch_schedule, such "
        "as 0.5@0.5,1@1; default: 1, the whole image",
        "",
    )
    cycles: int = config_field(
        "how often in a run the schedules are run through, one time after the other", 1, bounds=Bounds(at_least=1)
    )
    batch_in: str = config_field(
        "what all steps have equally many of: images, global_batch_size, or tokens, those of global_batch_size images "
        "of img_size in patches of patch_size",
        "images",
        choices=("images", "tokens"),
    )
    progress_in: str = config_field(
        "what the progress in schedules is a share of: the steps of the run, or its FLOPs",
        "steps",
        choices=("steps", "flops"),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if not (self.patch_schedule or self.image_schedule or self.crop_schedule):
            raise ConfigError(
                "patch_schedule needs patch_schedule: set --patch-schedule, --image-schedule or --crop-schedule"
            )
        for axis in (PATCH, IMAGE, CROP):
            if text := getattr(self, axis.name):
                object.__setattr__(self, axis.name, spelled_schedule(text, axis))

    @property
    def text(self) -> str:
        """The schedules in a line, for tables and figures."""
        parts = {"": self.patch_schedule, "image ": self.image_schedule, "crop ": self.crop_schedule}
        cycles = f"{self.cycles} x" if self.cycles > 1 else ""
        batch = "equal tokens" if self.batch_in == "tokens" else ""
        return ", ".join(filter(None, (cycles, *(name + text for name, text in parts.items() if text), batch)))

    def shapes(self, model: StepShape) -> Collection[StepShape]:
        return sorted(keys_of(_stretches(self, model)), reverse=True)

    def at(self, seed: int, step: int, course: Course) -> StepShape:
        steps = course.total_steps
        return drawn(self._shares(course.model, course.flops, step / steps, (step + 1) / steps), seed, step)

    def shares(self, model: StepShape, flops: Flops) -> Mapping[StepShape, float]:
        return self._shares(model, flops, 0.0, 1.0)

    def phases(self, model: StepShape, flops: Flops) -> list[tuple[float, Mapping[StepShape, float]]]:
        """The stretches of the schedule: where each ends, as a share of the steps [1], and the mean shares of the
        shapes in it."""
        bounds = step_bounds(_stretches(self, model), self._costs(model, flops))
        return [(end, self._shares(model, flops, begin, end)) for begin, end in pairwise(bounds)]

    def images(self, model: StepShape, shape: StepShape, batch: int) -> int:
        """Images of a step of this shape, where those of the model's have `batch`. Raises ConfigError where no number
        of images has as many tokens."""
        if self.batch_in == "images":
            return batch
        images, left = divmod(batch * model.tokens, shape.tokens)
        if left:
            least = math.lcm(*(one.tokens // math.gcd(one.tokens, model.tokens) for one in self.shapes(model)))
            near = sorted({max(1, batch // least), batch // least + 1})
            raise ConfigError(
                f"batch_in tokens: {batch} images of {model.tokens} tokens are {batch * model.tokens} per step, which "
                f"images of {shape.tokens} tokens (patch {shape.patch_size}, {shape.img_size} px) do not divide; "
                f"nearest global_batch_size that does: {', '.join(str(least * n) for n in near)}"
            )
        return images

    def check_model(self, model: StepShape, batch: int) -> None:
        """Raise ConfigError unless all patches divide their images, the finest patch and the largest image are those of
        the model, and steps of all shapes can have their batch. batch: of ModelConfig's shape [images]."""
        shapes = self.shapes(model)
        if self.patch_schedule:
            _check_finest(f"patch_schedule {self.patch_schedule}", shapes, model)
        for shape in shapes:
            check_patch(shape.img_size, shape.patch_size)
        largest = max(shape.cropped_from or shape.img_size for shape in shapes)
        if largest != model.img_size:
            raise ConfigError(
                f"image_schedule {self.image_schedule} has {largest} as its largest, and img_size is {model.img_size}; "
                f"the model is planned for the largest: set --img-size {largest}"
            )
        for shape in shapes:
            self.images(model, shape, batch)

    def _shares(self, model: StepShape, flops: Flops, begin: float, end: float) -> dict[StepShape, float]:
        """Mean shares over the steps from `begin` to `end`, which are shares of the run's steps [1]."""
        found = mean_shares(_stretches(self, model), begin, end, self._costs(model, flops))
        return dict(sorted(found.items(), reverse=True))

    def _costs(self, model: StepShape, flops: Flops) -> Flops | None:
        """What progress is counted by: FLOPs of a step, in any unit; None: every step is one."""
        if self.progress_in == "steps":
            return None
        if not flops:
            raise ConfigError("progress_in flops needs a cost model, which this model has not: set --progress-in steps")
        if self.batch_in == "images":
            return flops
        return {shape: one / shape.tokens for shape, one in flops.items()}


@functools.lru_cache(maxsize=64)  # every step asks
def _stretches(schedule: PatchSchedule, model: StepShape) -> tuple[Stretch[StepShape], ...]:
    """The stretches of a schedule of a model of this shape."""
    texts = schedule.patch_schedule or str(model.patch_size), schedule.image_schedule or str(model.img_size)
    found = joint_schedule(*texts, schedule.crop_schedule or "1", schedule.cycles)
    return tuple(Stretch(one.end, _shaped(one.first), _shaped(one.last)) for one in found)


def _shaped(shares: Mapping[Sizes, float]) -> Mapping[StepShape, float]:
    return {_shape_of(sizes): share for sizes, share in shares.items()}


def _shape_of(sizes: Sizes) -> StepShape:
    """The step shape of these sizes. Raises ConfigError where a crop is not of whole patches."""
    side = sizes.image * sizes.crop
    patches = round(side / sizes.patch)
    if sizes.crop == 1:
        return StepShape(sizes.patch, sizes.image)
    if patches < 1 or not math.isclose(side, patches * sizes.patch, rel_tol=1e-6):
        near = (n * sizes.patch / sizes.image for n in (math.floor(side / sizes.patch), math.ceil(side / sizes.patch)))
        raise ConfigError(
            f"crop {sizes.crop:g} of a {sizes.image} px image is {side:g} px, not whole patches of {sizes.patch} px; "
            f"nearest that are: {', '.join(f'{share:g}' for share in near if share > 0)}"
        )
    return StepShape(sizes.patch, patches * sizes.patch, sizes.image)


def _check_finest(what: str, shapes: Collection[StepShape], model: StepShape) -> None:
    for shape in shapes:
        check_patch(shape.img_size, shape.patch_size)
    finest = min(shape.patch_size for shape in shapes)
    if finest != model.patch_size:
        raise ConfigError(
            f"{what} has {finest} as its finest, and patch_size is {model.patch_size}; the model "
            f"is planned for the finest: set --patch-size {finest}"
        )


CHANGING = (RandomPatch, PatchSchedule)  # kinds whose steps may differ in shape
STEP_SHAPES: dict[str, type] = {c.kind: c for c in (FixedShape, RandomPatch, PatchSchedule)}
