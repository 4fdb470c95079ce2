"""Step shapes: patch size and image size of every training step. Registered kinds: fixed.

A kind is a frozen dataclass with `kind` and `at`, a pure function: so a resumed run continues with the very shapes, and
every device and worker process computes the same ones.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol


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


@dataclass(frozen=True, kw_only=True)
class FixedShape:
    """Every step has the patch size and the image size of ModelConfig."""

    kind: ClassVar[str] = "fixed"

    def at(self, seed: int, step: int, model: StepShape) -> StepShape:
        return model


STEP_SHAPES: dict[str, type] = {c.kind: c for c in (FixedShape,)}
