"""Detection: boxes and masks of objects. Table 3 and Figures 1e, 1f of arXiv 2502.03738.

B batch, H W pixels, n objects, N detections.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchmetrics import MeanMetric, SumMetric

from scaling.backbones import build_backbone
from scaling.backbones.drop_path import set_draws
from scaling.costs.token_counts import sampled_rois, size_multiple
from scaling.costs.token_limit import check_tokens
from scaling.data.batch import Objects, normalise
from scaling.engine.fsdp import keep_in_step
from scaling.errors import ConfigError
from scaling.heads.cascade_mask_rcnn import Instances, Sample, build_head
from scaling.heads.openmmlab import ready
from scaling.recipe import Recipe
from scaling.tasks import coco_metric
from scaling.tasks.optim import adamw
from scaling.tasks.sliding_window import padded
from scaling.tasks.visualize import Drawn, objects_side_by_side

Found = dict[str, Tensor]


class DetectionTask(L.LightningModule):
    """A backbone and Cascade Mask R-CNN on its last map. total_steps: optimiser steps of the whole run; names: of the
    classes, by which their AP goes into the record; none: numbers.

    The training loss is a mean over images of the sum of all of an image's losses. Which regions it is taken over
    is drawn by chance that follows from seed, step and the image's boxes: neither from how a batch is cut, nor from
    where a run was cut off.

    After an evaluation, `results()` gives test_box_loss, the losses of the region proposals and of the boxes of all
    stages; test_mask_loss, those of the masks of all stages; and test_loss, their sum [nats]: weighted as in training,
    means over images, and over the same regions in every evaluation. Only the cross-entropies in them are nats
    strictly; how far boxes are off is added as smooth absolute differences. Then average precisions as detection_scores
    has them [%], and skipped_test_later as Classify has it.
    """

    def __init__(self, recipe: Recipe, total_steps: int, names: Sequence[str] = ()) -> None:
        super().__init__()
        check_tokens(recipe)
        self.recipe, self.total_steps = recipe, total_steps
        self.names = [str(name) for name in names] or [str(number) for number in range(recipe.classes)]
        backbone: Any = build_backbone(recipe)
        if not backbone.dynamic_img_size:
            raise ConfigError(
                f"{recipe.backbone} takes images of {recipe.image} px only, and detection has others as well"
            )
        self.backbone = backbone
        maps = (backbone.width, backbone.stride)
        self.head: Any = build_head(*maps, recipe.classes, recipe.head_channels, recipe.seed, sampled_rois(recipe))
        self.channels_last = False
        self.box_loss, self.mask_loss, self.left_out = MeanMetric(), MeanMetric(), SumMetric()
        self.average_precision = coco_metric.AveragePrecision(self.names)

    @staticmethod
    def check(recipe: Recipe) -> None:
        """Raise ConfigError where OpenMMLab's heads or COCO's metric are not installed, or images have too many
        tokens."""
        ready()
        coco_metric.check()
        check_tokens(recipe)

    def forward(self, image_BCHW: Tensor) -> list[Found]:
        """uint8 images (B, 3, H, W) to what is found in each, as predict has it, at their size."""
        size = (image_BCHW.shape[-2], image_BCHW.shape[-1])
        return self._said(image_BCHW, [Sample(size, size)] * len(image_BCHW), detections=True)[1]

    def _said(
        self, image_BCHW: Tensor, samples: list[Sample], *, losses: bool = False, detections: bool = False
    ) -> tuple[dict[str, Tensor], list[Found]]:
        """What the head says of uint8 images."""
        check_tokens(self.recipe, (image_BCHW.shape[-2], image_BCHW.shape[-1]))
        image_BCHW = normalise(image_BCHW, self.backbone.mean, self.backbone.std)
        image_BCHW = padded(_blank(image_BCHW, samples), size_multiple(self.recipe))
        if self.channels_last:
            image_BCHW = image_BCHW.contiguous(memory_format=torch.channels_last)
        size = (image_BCHW.shape[-2], image_BCHW.shape[-1])
        features = self.backbone(image_BCHW, self.head.blocks)
        return self.head(features, size, samples, losses, detections)

    def training_step(self, batch: Objects, batch_idx: int) -> Tensor:
        set_draws(self.backbone, batch.random_BS)
        key = f"{self.recipe.seed}/{self.global_step}"
        losses_B = self._said(batch.image_BCHW, self._samples(batch, key), losses=True)[0]
        return torch.stack(list(losses_B.values())).sum(0).mean()

    def _samples(self, batch: Objects, key: str = "") -> list[Sample]:
        """The images of a batch. key: what the choice of regions follows from, beside the image."""
        samples = []
        for n, (height, width) in enumerate(batch.size_B2.tolist()):
            truth = batch.truth[n] if batch.truth else {"size": (height, width)}
            original = (int(truth["size"][0]), int(truth["size"][1]))
            own = str(truth["image_id"]).encode() if batch.truth else _bytes(batch.boxes[n][~batch.crowd[n]])
            things = Instances(batch.boxes[n], batch.labels[n], batch.masks[n], batch.crowd[n])
            samples.append(Sample((height, width), original, things, zlib.crc32(own, zlib.crc32(key.encode()))))
        return samples

    def _evaluate(self, batch: Objects, batch_idx: int) -> None:
        self.left_out.update(batch.skipped)
        parts = list(alike(batch, size_multiple(self.recipe)))
        keep_in_step(self, len(parts))
        for part in parts:
            losses_B, found = self._said(part.image_BCHW, self._samples(part), losses=True, detections=True)
            for metric, is_mask in ((self.box_loss, False), (self.mask_loss, True)):
                of_kind = [loss_B for name, loss_B in losses_B.items() if name.startswith("mask") == is_mask]
                metric.update(torch.stack(of_kind).sum(0))
            for said, truth in zip(found, part.truth, strict=True):
                self.average_precision.update(said, truth)

    validation_step = _evaluate
    test_step = _evaluate

    def results(self) -> dict[str, float]:
        """What the evaluation just done gave, as the class says; starts the next one afresh."""
        box, mask = self.box_loss.compute().item(), self.mask_loss.compute().item()
        values = {"test_loss": box + mask, "test_box_loss": box, "test_mask_loss": mask}
        values |= self.average_precision.compute()
        if left_out := self.left_out.compute().item():
            values["skipped_test_later"] = left_out
        for metric in (self.box_loss, self.mask_loss, self.left_out, self.average_precision):
            metric.reset()
        return values

    @torch.no_grad()
    def predict(self, batch: Objects) -> list[Found]:
        """What is found in each image of a batch, best first, on the CPU and at the image's own size: boxes (N, 4)
        x0 y0 x1 y1 [px], scores (N,), labels (N,), masks (N, H, W) bool."""
        found: list[Found] = []
        for part in alike(batch, size_multiple(self.recipe)):
            found += self._said(part.image_BCHW, self._samples(part), detections=True)[1]
        return found

    def as_coco(self, batch: Objects, categories: Sequence[int]) -> dict[str, list[dict[str, Any]]]:
        """What is found in test images, as COCO has it in files of results: bbox, boxes, and segm, masks. categories:
        its number of each class."""
        kinds: dict[str, list[dict[str, Any]]] = {kind: [] for kind in coco_metric.KINDS.values()}
        for said, truth in zip(self.predict(batch), batch.truth, strict=True):
            for kind, listed in kinds.items():
                listed += coco_metric.as_coco(said, truth["image_id"], categories, kind)
        return kinds

    def pictures(self, batch: Objects) -> list[Image.Image]:
        """Each image of a batch, on whatever device, what is in it and what is found."""
        each = zip(batch.image_BCHW.cpu(), batch.size_B2.tolist(), batch.truth, self.predict(batch), strict=True)
        return [self._picture(image_CHW[:, :height, :width], *said) for image_CHW, (height, width), *said in each]

    def _picture(self, image_CHW: Tensor, truth: Mapping[str, Any], said: Found) -> Image.Image:
        image = Image.fromarray(image_CHW.permute(1, 2, 0).contiguous().numpy())
        own = (int(truth["size"][1]), int(truth["size"][0]))
        if image.size != own:
            image = image.resize(own, Image.Resampling.BILINEAR)
        masks_nHW = coco_metric.decoded(truth["masks"], truth["size"]).bool().numpy()
        boxes_n4, labels_n = (torch.as_tensor(truth[name]).cpu().numpy() for name in ("boxes", "labels"))
        there = Drawn(boxes_n4.reshape(-1, 4), labels_n, masks_nHW)
        found = (said[name].numpy() for name in ("boxes", "labels", "masks", "scores"))
        return objects_side_by_side(np.asarray(image), there, Drawn(*found), self.names)

    def configure_optimizers(self) -> Any:
        return adamw(self, self.recipe, self.total_steps)


def alike(batch: Objects, step: int) -> Iterator[Objects]:
    """Neighbours that fill the same multiples of step px, without what fills them up to others: so what is said of an
    image does not depend on which others are in its batch."""
    sizes = [tuple(-(-side // step) * step for side in size) for size in batch.size_B2.tolist()]
    start = 0
    for end in range(1, len(sizes) + 1):
        if end < len(sizes) and sizes[end] == sizes[start]:
            continue
        (height, width), part = sizes[start], slice(start, end)
        yield Objects(
            batch.image_BCHW[part, :, :height, :width],
            batch.size_B2[part],
            batch.boxes[part],
            batch.labels[part],
            [masks_nHW[:, :height, :width] for masks_nHW in batch.masks[part]],
            batch.crowd[part],
            truth=batch.truth[part],
        )
        start = end


def _blank(image_BCHW: Tensor, samples: Sequence[Sample]) -> Tensor:
    """Normalised images with zeros, which are the mean colour unrounded, where they are filled up."""
    for image_CHW, sample in zip(image_BCHW, samples, strict=True):
        image_CHW[:, sample.size[0] :] = 0
        image_CHW[:, :, sample.size[1] :] = 0
    return image_BCHW


def _bytes(boxes_n4: Tensor) -> bytes:
    return boxes_n4.cpu().numpy().tobytes()
