"""Distillation: t^2 KL(softmax(z_T / t) || softmax(z_S / t)) of the logits of a teacher T and a student S at
temperature t, a mean over images and a sum over classes [nats].

Source: arXiv 2212.08013 and google-research/big_vision, evaluators/proj/distill/distance.py. The teacher sees the very
pixels of the student (crop, flip and mixture), with its own normalisation and at its own image size: function matching.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, kl_div, log_softmax

from scaling.backbones.base import Features
from scaling.config import objectives
from scaling.data.batch import Batch

if TYPE_CHECKING:
    from scaling.tasks.base import TaskModule


class Teacher(NamedTuple):
    """A classifier in eval mode, whose parameters need no gradient: normalised pixels (B, C, H, W) to logits (B, K).

    img_size: of its input [px]; mean, std: of pixels in [0, 1], by channel, that it was trained with. state: its
    weights under the names of a checkpoint, for a student that starts from them; flops: of its forward pass per image.
    """

    logits: nn.Module
    img_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    state: dict[str, Tensor]
    flops: float

    def __call__(self, image_BCHW: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
        """Logits (B, K) for pixels that are normalised by mean and std, without gradients."""
        with torch.no_grad():
            if (mean, std) != (self.mean, self.std):
                given, own = (_by_channel(image_BCHW, m, s) for m, s in ((mean, std), (self.mean, self.std)))
                image_BCHW = (image_BCHW * given[1] + given[0] - own[0]) / own[1]
            if image_BCHW.shape[-1] != self.img_size:
                size = (self.img_size, self.img_size)
                image_BCHW = interpolate(image_BCHW, size, mode="bicubic", antialias=True)
            logits_BK: Tensor = self.logits(image_BCHW)
            return logits_BK


def _by_channel(image_BCHW: Tensor, *values: tuple[float, ...]) -> list[Tensor]:
    return [image_BCHW.new_tensor(value).view(1, -1, 1, 1) for value in values]


def divergence(student_BK: Tensor, teacher_BK: Tensor, temperature: float) -> Tensor:
    """t^2 KL(teacher || student) of logits: a scalar [nats]."""
    student, teacher = (log_softmax(logits_BK / temperature, dim=-1) for logits_BK in (student_BK, teacher_BK))
    return temperature**2 * kl_div(student, teacher, reduction="batchmean", log_target=True)


class Distillation:
    """The divergence of the student from the teacher, which the engine sets before training (engine/teachers.py): a
    model for inference has none. It is no module of the task, so it is in no checkpoint, average or optimiser."""

    def __init__(self, config: objectives.Distillation) -> None:
        self.weight, self.temperature = config.distil_weight, config.temperature
        self.teacher: Teacher | None = None

    def loss(self, task: TaskModule, batch: Batch, features: Features, outputs: object) -> Tensor:
        assert self.teacher is not None, "the engine sets the teacher before training"
        assert isinstance(outputs, Tensor)  # of a ClassificationTask: checked in scaling/config/checks.py
        self.teacher.logits.to(batch.pixels.device)
        mean, std = tuple(task.backbone.mean), tuple(task.backbone.std)
        return divergence(outputs, self.teacher(batch.pixels, mean, std), self.temperature)
