"""StepShape, the patch size and image size of a training step, and the interface of what gives each step its own."""

from collections.abc import Collection, Mapping
from typing import ClassVar, NamedTuple, Protocol

from scaling.config.patch_size import check_patch
from scaling.errors import ConfigError


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


def check_finest(what: str, shapes: Collection[StepShape], model: StepShape) -> None:
    """Raise ConfigError unless all patches divide their images and the finest is that of the model. what: names the
    shapes."""
    for shape in shapes:
        check_patch(shape.img_size, shape.patch_size)
    finest = min(shape.patch_size for shape in shapes)
    if finest != model.patch_size:
        raise ConfigError(
            f"{what} has {finest} as its finest, and patch_size is {model.patch_size}; the model "
            f"is planned for the finest: set --patch-size {finest}"
        )
