"""Semantic segmentation: one class per pixel, cross-entropy [nats]. Table 2 of arXiv 2502.03738.

B batch, C channels, K classes, H W pixels of an image or of its label map, L patches of all images of a batch.
"""

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from scaling.backbones.base import Features
from scaling.config.at_shape import at_patch
from scaling.config.experiment import ExperimentConfig
from scaling.costs.token_counts import size_multiple
from scaling.data.batch import IGNORE_INDEX, Batch, MaskTargets, PackedMaskTargets
from scaling.errors import ConfigError
from scaling.heads.openmmlab import ready
from scaling.heads.segmentation import Linear, UperNet, build_head
from scaling.packing.packed_images import PackedImages
from scaling.tasks.base import Scores, TaskModule
from scaling.tasks.sliding_window import slide, whole, windows
from scaling.tasks.visualize import side_by_side


class PixelScores(Scores):
    """Test loss [nats] and confusion matrix of an evaluation. names: of the classes."""

    def __init__(self, classes: int, names: Sequence[str]) -> None:
        super().__init__()
        self.names = names
        self.test_loss = MeanMetric()
        self.confusion = MulticlassConfusionMatrix(classes, ignore_index=IGNORE_INDEX)

    def update(self, logits_BKHW: Tensor, label_BHW: Tensor) -> None:
        if labelled := int((label_BHW != IGNORE_INDEX).sum()):
            self.test_loss.update(_summed_loss(logits_BKHW, label_BHW) / labelled, labelled)
        self.confusion.update(logits_BKHW.argmax(1), label_BHW.long())

    def compute(self) -> dict[str, float]:
        return {"test_loss": self.test_loss.compute().item(), **scores(self.confusion.compute(), self.names)}


class SegmentationTask(TaskModule[list[Tensor]]):
    """A backbone and a head on its maps.

    The training loss is the sum over labelled pixels divided by the number of all pixels, as mmsegmentation's is: so it
    does not depend on how a batch is divided among devices. Nor does it where images have sizes of their own: a batch
    is then taken to have as many pixels as so many mean training images. The test loss is the mean over the labelled
    pixels of the whole set. Metrics: miou, mean_accuracy and pixel_accuracy [%], of the confusion matrix of the
    whole set, and iou_CLASS [%] of each class that is labelled or predicted.
    """

    head: Linear | UperNet

    def __init__(self, config: ExperimentConfig, total_steps: int, names: Sequence[str] = ()) -> None:
        super().__init__(config, total_steps, names)
        backbone = self.backbone
        if not (backbone.dynamic_img_size or config.segmentation.slide_stride):
            raise ConfigError(
                f"{config.model.backbone} takes images of {config.model.img_size} px only: set --slide-stride "
                f"{2 * config.model.img_size // 3}"
            )
        maps = (backbone.width, backbone.stride, backbone.depth)
        self.head = build_head(
            config.task.head.kind, *maps, config.data.num_classes, config.segmentation.head.head_channels, config.seed
        )

    @staticmethod
    def check_available(config: ExperimentConfig) -> None:
        ready()

    def forward(self, image_BCHW: Tensor, patch_size: int | None = None) -> Tensor:
        """uint8 images (B, C, H, W) of any size to logits (B, K, H, W), whole or in windows of the recipe's size.
        patch_size [px]: None is the model's own."""
        image_BCHW, r = self.normalised(image_BCHW), at_patch(self.config, patch_size)
        logits = partial(self._logits, patch_size=patch_size)
        if r.segmentation.slide_stride:
            return slide(logits, image_BCHW, r.model.img_size, r.segmentation.slide_stride)
        return whole(logits, image_BCHW, size_multiple(r))

    def _logits(self, image_BCHW: Tensor, patch_size: int | None) -> Tensor:
        """Logits of normalised images whose sides the patch divides, at their size."""
        return self._head(self.features(image_BCHW, self.head.blocks, patch_size), image_BCHW)

    def _head(self, features: Features, image_BCHW: Tensor) -> Tensor:
        size = (image_BCHW.shape[-2], image_BCHW.shape[-1])
        return _resized(self.head(features, size), size)

    def _head_on_packed(self, features: Features) -> list[Tensor]:
        """Logits (1, K, H, W) of each packed image, at its size."""
        rows, patch = features.layout.rows, features.layout.patch_px
        assert rows is not None
        logits_1KL = self.head(features, (0, 0)).squeeze(3)
        parts = logits_1KL.split([h * w for h, w in rows.grids], 2)
        return [
            _resized(part_1KL.unflatten(2, (h, w)), (h * patch, w * patch))
            for part_1KL, (h, w) in zip(parts, rows.grids, strict=True)
        ]

    def training_outputs(self, batch: Batch) -> tuple[Features, list[Tensor]]:
        features = self.features(batch.images, self.head.blocks, batch.shape.patch_size)
        if batch.rows is not None:
            return features, self._head_on_packed(features)
        return features, _of_labels(self._head(features, batch.pixels), batch)

    def supervised_loss(self, batch: Batch, outputs: list[Tensor]) -> Tensor:
        """outputs: logits of the label maps of _labels."""
        targets, labels = batch.targets, _labels(batch)
        sums = [
            _summed_loss(logits_BKHW, label_BHW, self.config.segmentation.smoothing)
            for logits_BKHW, label_BHW in zip(outputs, labels, strict=True)
        ]
        if isinstance(targets, PackedMaskTargets):
            return torch.stack(sums).sum() / (len(labels) * targets.mean_pixels)
        return sums[0] / labels[0].numel()

    def make_scores(self) -> PixelScores:
        return PixelScores(self.config.data.num_classes, self.names)

    def evaluation_passes(self, batch: Batch, patch_size: int) -> int:
        if not len(batch) or not self.config.segmentation.slide_stride:
            return super().evaluation_passes(batch, patch_size)
        height, width = batch.pixels.shape[-2:]
        return windows(height, width, self.config.model.img_size, self.config.segmentation.slide_stride)

    def _at_label_size(self, batch: Batch, patch_size: int | None = None) -> list[Tensor]:
        """Logits of a test batch, for the label maps of _labels."""
        if batch.rows is not None:
            images = self.normalised(batch.images)
            found = self._head_on_packed(self.features(images, self.head.blocks, patch_size))
        else:
            found = _of_labels(self(batch.pixels, patch_size), batch)
        return [_resized(x.float(), tuple(y.shape[-2:])) for x, y in zip(found, _labels(batch), strict=True)]

    def class_map(self, image_1CHW: Tensor, size: tuple[int, int], patch_size: int | None = None) -> Tensor:
        """The class of each pixel (H, W), uint8, of one uint8 image, at a size (height, width) [px]: logits are resized
        to it, as to that of a label map in evaluation. patch_size [px]: None is the model's own."""
        return _resized(self(image_1CHW, patch_size).float(), size)[0].argmax(0).to(torch.uint8)

    def update_scores(self, batch: Batch, patch_size: int) -> None:
        scores = cast(PixelScores, self.scores_at(patch_size))
        for logits_BKHW, label_BHW in zip(self._at_label_size(batch, patch_size), _labels(batch), strict=True):
            scores.update(logits_BKHW, label_BHW)

    def draw_predictions(self, batch: Batch) -> list[Image.Image]:
        predictions = [x.argmax(1).to(torch.uint8).cpu().numpy() for x in self._at_label_size(batch)]
        labels = [label_BHW.cpu().numpy() for label_BHW in _labels(batch)]
        shown = zip(*([one for part in parts for one in part] for parts in (labels, predictions)), strict=True)
        images = batch.images.images() if isinstance(batch.images, PackedImages) else batch.images
        return [
            side_by_side(image_CHW.permute(1, 2, 0).cpu().numpy(), label_HW, found_HW, self.names)
            for image_CHW, (label_HW, found_HW) in zip(images, shown, strict=True)
        ]


def _labels(batch: Batch) -> list[Tensor]:
    """Label maps (B, H, W): of all images at once, or of each packed image (1, H, W)."""
    if isinstance(batch.targets, PackedMaskTargets):
        return [label_HW.unsqueeze(0) for label_HW in batch.targets.labels]
    assert isinstance(batch.targets, MaskTargets)
    return [batch.targets.label_BHW]


def _of_labels(logits_BKHW: Tensor, batch: Batch) -> list[Tensor]:
    """The logits of images of one size in the parts of _labels."""
    return list(logits_BKHW.split(1)) if isinstance(batch.targets, PackedMaskTargets) else [logits_BKHW]


def _summed_loss(logits_BKHW: Tensor, label_BHW: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy summed over labelled pixels [nats]."""
    return cross_entropy(
        logits_BKHW.float(), label_BHW.long(), ignore_index=IGNORE_INDEX, reduction="sum", label_smoothing=smoothing
    )


def _resized(logits_BKhw: Tensor, size: tuple[int, ...]) -> Tensor:
    """Bilinear, as mmsegmentation resizes logits."""
    if tuple(logits_BKhw.shape[-2:]) == size:
        return logits_BKhw
    return interpolate(logits_BKhw, size, mode="bilinear", align_corners=False)


def scores(confusion_KK: Tensor, names: Sequence[str]) -> dict[str, float]:
    """miou, mean_accuracy, pixel_accuracy and iou_CLASS [%] of a confusion matrix (rows: labels).

    A class that is neither labelled nor predicted has no IoU and is left out of the mean; one that is not labelled has
    no accuracy."""
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
