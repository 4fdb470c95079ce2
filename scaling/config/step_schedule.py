"""PatchSchedule: patch size, image size and crop of the steps by schedules over the run, and the images of a step.

Schedules as text: schedules.py; several of them as one: joint_schedule.py.
"""

import functools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from scaling.config.fields import Bounds, check_fields, config_field
from scaling.config.joint_schedule import Sizes, joint_schedule
from scaling.config.patch_size import check_patch
from scaling.config.patch_weights import CROP, IMAGE, PATCH, drawn
from scaling.config.schedules import Stretch, keys_of, mean_shares, spelled_schedule, step_bounds
from scaling.config.step_shape import Course, Flops, StepShape, check_finest
from scaling.errors import ConfigError


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
    rewarm_steps: int = config_field(
        "steps after each change from one stretch to the next in which the learning rate rises linearly to that of its "
        "schedule; 0: it is kept",
        0,
        unit="steps",
        bounds=Bounds(at_least=0),
    )
    progress_in: str = config_field(
        "what the progress in schedules is a share of: the steps of the run, or its FLOPs",
        "steps",
        choices=("steps", "flops"),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        texts = self.patch_schedule, self.image_schedule, self.crop_schedule
        if not any(texts):
            raise ConfigError(
                "patch_schedule needs patch_schedule: set --patch-schedule, --image-schedule or --crop-schedule"
            )
        one_spelling = {
            "patch_schedule": texts[0] and spelled_schedule(texts[0], PATCH),
            "image_schedule": texts[1] and spelled_schedule(texts[1], IMAGE),
            "crop_schedule": texts[2] and spelled_schedule(texts[2], CROP),
        }
        for name, text in one_spelling.items():
            object.__setattr__(self, name, text)

    @property
    def text(self) -> str:
        """The schedules in a line, for tables and figures."""
        parts = {"": self.patch_schedule, "image ": self.image_schedule, "crop ": self.crop_schedule}
        cycles = f"{self.cycles} x " if self.cycles > 1 else ""
        batch = ["equal tokens"] if self.batch_in == "tokens" else []
        return cycles + ", ".join([*(name + text for name, text in parts.items() if text), *batch])

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
            check_finest(f"patch_schedule {self.patch_schedule}", shapes, model)
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
