"""Objectives: the terms that a training loss is the weighted sum of.

To add one: a dataclass with `kind` in OBJECTIVES of scaling/config/objectives.py, and under the same kind in BUILDERS a
function that makes an Objective of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from scaling.backbones.base import Features
from scaling.config import objectives
from scaling.data.batch import Batch
from scaling.tasks.distillation import Distillation

if TYPE_CHECKING:
    from scaling.tasks.base import TaskModule


class Objective(Protocol):
    """One term. A model of its own, such as a teacher, it keeps out of the task's parameters."""

    weight: float

    def loss(self, task: TaskModule, batch: Batch, features: Features, outputs: object) -> Tensor:
        """A scalar: a mean over the images of the micro-batch. batch: its pixels are normalised, and mixed where the
        recipe has Mixup or CutMix; features: of the backbone; outputs: of the head, as the task defines them."""


class Supervised:
    """The loss of the task against its labels. weight: what distillation leaves."""

    def __init__(self, task: TaskModule) -> None:
        distillation = task.config.distillation
        self.weight = 1.0 - distillation.distil_weight if distillation else 1.0

    def loss(self, task: TaskModule, batch: Batch, features: Features, outputs: object) -> Tensor:
        return task.supervised_loss(batch, outputs)


def _distillation(config: object, task: TaskModule) -> Objective:
    assert isinstance(config, objectives.Distillation)
    return Distillation(config)


BUILDERS: dict[str, Callable[[object, TaskModule], Objective]] = {
    "supervised": lambda config, task: Supervised(task),
    "distillation": _distillation,
}
