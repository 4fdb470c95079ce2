"""Semantic segmentation: a class for every pixel, cross-entropy [nats]. Table 2 of arXiv 2502.03738.

B batch, C channels, K classes, H W pixels of an image or of its label.
"""

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate
from torchmetrics import MeanMetric, SumMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from scaling.backbones import build_backbone
from scaling.backbones.drop_path import set_draws
from scaling.costs.token_counts import size_multiple
from scaling.data.batch import UNLABELLED, Scenes, normalise
from scaling.engine.fsdp import keep_in_step
from scaling.errors import ConfigError
from scaling.heads.openmmlab import ready
from scaling.heads.segmentation import build_head
from scaling.recipe import Recipe
from scaling.tasks.optim import adamw
from scaling.tasks.sliding_window import slide, whole, windows
from scaling.tasks.visualize import side_by_side


class SegmentationTask(L.LightningModule):
    """A backbone and a head on its maps. total_steps: optimiser steps of the whole run; names: of the classes, by which
    their IoU goes into the record; none: numbers.

    The training loss is the sum over labelled pixels over the number of all pixels, as mmsegmentation's is: then it
    does not depend on how a batch is cut among devices. The test loss is the mean over the labelled pixels of the set.

    After an evaluation, `results()` gives test_loss [nats]; miou, mean_accuracy and pixel_accuracy [%], of the
    confusion matrix of the whole set; iou_CLASS [%] for each class that is in the labels or was predicted; and
    skipped_test_later as Classify has it.
    """

    def __init__(self, recipe: Recipe, total_steps: int, names: Sequence[str] = ()) -> None:
        super().__init__()
        self.recipe, self.total_steps = recipe, total_steps
        self.names = [str(name) for name in names] or [str(number) for number in range(recipe.classes)]
        backbone: Any = build_backbone(recipe)
        if not (backbone.dynamic_img_size or recipe.slide):
            raise ConfigError(
                f"{recipe.backbone} takes images of {recipe.image} px only: evaluate in windows, as by --slide "
                f"{2 * recipe.image // 3}"
            )
        self.backbone = backbone
        maps = (backbone.width, backbone.stride, backbone.depth)
        self.head: Any = build_head(recipe.head, *maps, recipe.classes, recipe.head_channels, recipe.seed)
        self.channels_last = False
        self.test_loss = MeanMetric()
        self.confusion = MulticlassConfusionMatrix(recipe.classes, ignore_index=UNLABELLED)
        self.left_out = SumMetric()

    @staticmethod
    def check(recipe: Recipe) -> None:
        """Raise ConfigError where OpenMMLab's heads are not installed."""
        ready()

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """uint8 images (B, 3, H, W) of any size to logits (B, K, H, W), whole or in windows as the recipe says."""
        image_BCHW, r = self._normalised(image_BCHW), self.recipe
        if r.slide:
            return slide(self._dense, image_BCHW, r.image, r.slide)
        return whole(self._dense, image_BCHW, size_multiple(r))

    def _passes(self, batch: Scenes) -> int:
        """Of the model, that an evaluation of a batch takes."""
        if not len(batch.image_BCHW):
            return 0
        height, width = batch.image_BCHW.shape[-2:]
        return windows(height, width, self.recipe.image, self.recipe.slide) if self.recipe.slide else 1

    def _normalised(self, image_BCHW: Tensor) -> Tensor:
        return normalise(image_BCHW, self.backbone.mean, self.backbone.std)

    def _dense(self, image_BCHW: Tensor) -> Tensor:
        """Normalised images whose sides the patch divides to logits at their size."""
        if self.channels_last:
            image_BCHW = image_BCHW.contiguous(memory_format=torch.channels_last)
        size = tuple(image_BCHW.shape[-2:])
        logits_BKhw = self.head(self.backbone(image_BCHW, self.head.blocks), size)
        return _resized(logits_BKhw, size)

    def training_step(self, batch: Scenes, batch_idx: int) -> Tensor:
        set_draws(self.backbone, batch.random_BS)
        logits_BKHW = self._dense(self._normalised(batch.image_BCHW))
        return self._loss(logits_BKHW, batch.label_BHW, self.recipe.smoothing) / batch.label_BHW.numel()

    def _loss(self, logits_BKHW: Tensor, label_BHW: Tensor, smoothing: float = 0.0) -> Tensor:
        """The sum over labelled pixels [nats]."""
        return cross_entropy(
            logits_BKHW.float(), label_BHW.long(), ignore_index=UNLABELLED, reduction="sum", label_smoothing=smoothing
        )

    def _evaluate(self, batch: Scenes, batch_idx: int) -> None:
        self.left_out.update(batch.skipped)
        keep_in_step(self, self._passes(batch))
        if not len(batch.image_BCHW):  # none is left for this device, or a batch of one image that cannot be decoded
            return
        label_BHW = batch.label_BHW
        logits_BKHW = _resized(self(batch.image_BCHW).float(), tuple(label_BHW.shape[-2:]))
        if labelled := int((label_BHW != UNLABELLED).sum()):
            self.test_loss.update(self._loss(logits_BKHW, label_BHW) / labelled, labelled)
        self.confusion.update(logits_BKHW.argmax(1), label_BHW.long())

    validation_step = _evaluate
    test_step = _evaluate

    def results(self) -> dict[str, float]:
        """What the evaluation just done gave, as the class says; starts the next one afresh."""
        values = {"test_loss": self.test_loss.compute().item(), **scores(self.confusion.compute(), self.names)}
        if left_out := self.left_out.compute().item():
            values["skipped_test_later"] = left_out
        for metric in (self.test_loss, self.confusion, self.left_out):
            metric.reset()
        return values

    def configure_optimizers(self) -> Any:
        return adamw(self, self.recipe, self.total_steps)

    def pictures(self, batch: Scenes) -> list[Image.Image]:
        """Each image of a batch, on whatever device, its label and what is predicted."""
        logits_BKHW = _resized(self(batch.image_BCHW).float(), tuple(batch.label_BHW.shape[-2:]))
        prediction_BHW = logits_BKHW.argmax(1).to(torch.uint8)
        parts = (batch.image_BCHW.permute(0, 2, 3, 1), batch.label_BHW, prediction_BHW)
        each = zip(*(part.cpu().numpy() for part in parts), strict=True)
        return [side_by_side(image_HWC, label_HW, said_HW, self.names) for image_HWC, label_HW, said_HW in each]


def _resized(logits_BKhw: Tensor, size: tuple[int, ...]) -> Tensor:
    """Bilinear, as mmsegmentation resizes logits."""
    if tuple(logits_BKhw.shape[-2:]) == size:
        return logits_BKhw
    return interpolate(logits_BKhw, size, mode="bilinear", align_corners=False)


def scores(confusion_KK: Tensor, names: Sequence[str]) -> dict[str, float]:
    """miou, mean_accuracy, pixel_accuracy and iou_CLASS [%] from pixels counted by label (rows) and prediction.

    A class that is nowhere, neither labelled nor predicted, has no IoU and is left out of the mean; one that is not
    labelled has no accuracy."""
    counts_KK = confusion_KK.double()
    hit_K, labelled_K = counts_KK.diagonal(), counts_KK.sum(1)
    union_K = labelled_K + counts_KK.sum(0) - hit_K
    iou_K = 100 * hit_K / union_K  # nan where there is no such pixel
    return {
        "miou": iou_K.nanmean().item(),
        "mean_accuracy": (100 * hit_K / labelled_K).nanmean().item(),
        "pixel_accuracy": (100 * hit_K.sum() / labelled_K.sum()).item(),
        **{f"iou_{name}": iou.item() for name, iou, union in zip(names, iou_K, union_K, strict=True) if union},
    }
