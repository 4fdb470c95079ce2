"""Classification: one label an image, cross-entropy [nats]. No files, no schedule of evaluations here."""

from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from timm.data import Mixup
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics import MeanMetric, SumMetric
from torchmetrics.classification import MulticlassAccuracy

from scaling.backbones.drop_path import set_draws
from scaling.backbones.init import seeded
from scaling.backbones.registry import build_backbone
from scaling.data.batch import Batch, normalise
from scaling.engine.fsdp import keep_in_step
from scaling.recipe import Recipe
from scaling.rng import numpy_key
from scaling.tasks.optim import adamw


class ClassificationTask(L.LightningModule):
    """A backbone and a linear classifier on its summary. total_steps: optimiser steps of the whole run; names: of the
    classes, which nothing here says.

    After an evaluation, `results()` gives test_loss [nats], top1 and top5 [%], each a mean over images, and
    skipped_test_later, the images that only this evaluation found unreadable, where there are any.
    """

    def __init__(self, recipe: Recipe, total_steps: int, names: Sequence[str] = ()) -> None:
        super().__init__()
        self.recipe, self.total_steps = recipe, total_steps
        self.backbone: Any = build_backbone(recipe)  # an nn.Module under the contract
        self.head = nn.Linear(self.backbone.width, recipe.classes)
        with seeded(recipe.seed):
            nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.mixing, self.channels_last = _mixing(recipe), False
        self.test_loss = MeanMetric()
        self.top1 = MulticlassAccuracy(recipe.classes, top_k=1, average="micro")
        self.top5 = MulticlassAccuracy(recipe.classes, top_k=min(5, recipe.classes), average="micro")
        self.left_out = SumMetric()

    @staticmethod
    def check(recipe: Recipe) -> None:
        """All that this task needs is there wherever the project is installed."""

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """uint8 images (B, 3, H, W) to logits (B, classes)."""
        return self._logits(self._normalised(image_BCHW))

    def _normalised(self, image_BCHW: Tensor) -> Tensor:
        return normalise(image_BCHW, self.backbone.mean, self.backbone.std)

    def _logits(self, image_BCHW: Tensor) -> Tensor:
        if self.channels_last:
            image_BCHW = image_BCHW.contiguous(memory_format=torch.channels_last)
        return self.head(self.backbone(image_BCHW).pooled_ND)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        set_draws(self.backbone, batch.random_BS)
        if self.mixing is None:
            return cross_entropy(self(batch.image_BCHW), batch.label_B, label_smoothing=self.recipe.smoothing)
        image_BCHW, target_BK = self._mixed(self._normalised(batch.image_BCHW), batch.label_B)
        return cross_entropy(self._logits(image_BCHW), target_BK)

    def _mixed(self, image_BCHW: Tensor, label_B: Tensor) -> tuple[Tensor, Tensor]:
        """timm's mixing of a batch with its reverse, by random numbers that follow from seed and step: all shares
        of a step mix alike, and data/order.py deals them so that partners are together."""
        assert self.mixing is not None
        before = np.random.get_state()  # noqa: NPY002  timm's Mixup uses it
        np.random.seed(numpy_key(self.recipe.seed, self.trainer.global_step))  # noqa: NPY002
        try:
            image_BCHW, target_BK = self.mixing(image_BCHW, label_B)
        finally:
            np.random.set_state(before)  # noqa: NPY002
        return image_BCHW, target_BK

    def _evaluate(self, batch: Batch, batch_idx: int) -> None:
        self.left_out.update(batch.skipped)
        keep_in_step(self, min(1, len(batch.label_B)))
        if not len(batch.label_B):  # none is left for this device, or a batch of one image that cannot be decoded
            return
        logits_BK = self(batch.image_BCHW).float()
        # Weighted by image: the last batch is smaller, and unreadable images may be missing anywhere.
        self.test_loss.update(cross_entropy(logits_BK, batch.label_B, reduction="none"))
        self.top1.update(logits_BK, batch.label_B)
        self.top5.update(logits_BK, batch.label_B)

    validation_step = _evaluate
    test_step = _evaluate

    def results(self) -> dict[str, float]:
        """What the evaluation just done gave, as the class says; starts the next one afresh."""
        values = {
            "test_loss": self.test_loss.compute().item(),
            "top1": 100 * self.top1.compute().item(),
            "top5": 100 * self.top5.compute().item(),
        }
        if left_out := self.left_out.compute().item():
            values["skipped_test_later"] = left_out
        for metric in (self.test_loss, self.top1, self.top5, self.left_out):
            metric.reset()
        return values

    def configure_optimizers(self) -> Any:
        return adamw(self, self.recipe, self.total_steps)


def _mixing(recipe: Recipe) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
    """timm's mixup and CutMix, smoothing included; None where the recipe has neither."""
    if not (recipe.mixup or recipe.cutmix):
        return None
    return Mixup(recipe.mixup, recipe.cutmix, label_smoothing=recipe.smoothing, num_classes=recipe.classes)
