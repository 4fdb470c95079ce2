"""Detection: boxes and masks of objects. Table 3 and Figures 1e, 1f of arXiv 2502.03738.

B batch, C channels, H W pixels, n objects, N detections.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchmetrics import MeanMetric

from scaling.backbones.base import Features
from scaling.config.at_shape import at_patch
from scaling.config.experiment import ExperimentConfig
from scaling.costs.token_counts import sampled_rois, size_multiple
from scaling.costs.token_limit import check_tokens
from scaling.data.batch import Batch, GroundTruth, InstanceTargets
from scaling.data.coco.coco_annotations import Entry
from scaling.data.transforms.detection import rounded_up
from scaling.errors import ConfigError
from scaling.heads.cascade_mask_rcnn import CascadeMaskRCNN, DenseOutputs, Instances, Sample, build_head
from scaling.heads.openmmlab import ready
from scaling.rng import seed_of
from scaling.tasks import coco_metric
from scaling.tasks.base import Scores, TaskModule
from scaling.tasks.sliding_window import padded
from scaling.tasks.visualize import Drawn, objects_side_by_side

Detections = dict[str, Tensor]  # of one image: boxes, scores, labels, masks


class HeadOutputs(NamedTuple):
    """Outputs of the head for a batch, before regions are chosen."""

    features: Features
    dense: DenseOutputs
    samples: list[Sample]


class ObjectScores(Scores):
    """Losses and average precision of an evaluation. names: of the classes."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.box_loss, self.mask_loss = MeanMetric(), MeanMetric()
        self.average_precision = coco_metric.AveragePrecision(names)

    def update(self, losses_B: Mapping[str, Tensor], found: Sequence[Detections], truth: Sequence[GroundTruth]) -> None:
        """losses_B: of each image, by the names of the head's losses; found, truth: of each image."""
        for metric, is_mask in ((self.box_loss, False), (self.mask_loss, True)):
            of_kind = [loss_B for name, loss_B in losses_B.items() if name.startswith("mask") == is_mask]
            metric.update(torch.stack(of_kind).sum(0))
        for detections, its in zip(found, truth, strict=True):
            self.average_precision.update(detections, its)

    def compute(self) -> dict[str, float]:
        box, mask = self.box_loss.compute().item(), self.mask_loss.compute().item()
        losses = {"test_loss": box + mask, "test_box_loss": box, "test_mask_loss": mask}
        return {**losses, **self.average_precision.compute()}

    def reset(self) -> None:
        super().reset()
        self.average_precision.reset()


class DetectionTask(TaskModule[dict[str, Tensor]]):
    """A backbone and Cascade Mask R-CNN on its last map.

    The training loss is the mean over images of the sum of all losses of an image. The regions that it is taken over
    are sampled by random numbers that follow from seed, step and the boxes of the image: so it depends neither on how a
    batch is divided nor on where a run was interrupted.

    Metrics: test_box_loss, the losses of the region proposals and of the boxes of all stages; test_mask_loss, those of
    the masks of all stages; test_loss is their sum, weighted as in training: means over images, over the same regions
    in every evaluation. (Only the cross-entropies in them are nats strictly; smooth absolute differences of boxes are
    added.) Average precision as in coco_metric.py [%].
    """

    head: CascadeMaskRCNN

    def __init__(self, config: ExperimentConfig, total_steps: int, names: Sequence[str] = ()) -> None:
        check_tokens(config)
        super().__init__(config, total_steps, names)
        if not self.backbone.dynamic_img_size:
            raise ConfigError(
                f"{config.model.backbone} takes images of {config.model.img_size} px only, detection has others as well"
            )
        maps = (self.backbone.width, self.backbone.stride)
        self.head = build_head(
            *maps, config.data.num_classes, config.detection.head.head_channels, config.seed, sampled_rois(config)
        )

    @staticmethod
    def check_available(config: ExperimentConfig) -> None:
        """Raise ConfigError where OpenMMLab's heads or COCO's metric are not installed, or images have too many
        tokens."""
        ready()
        coco_metric.check_available()
        check_tokens(config)

    def forward(
        self, image_BCHW: Tensor, patch_size: int | None = None, original: tuple[int, int] | None = None
    ) -> list[Detections]:
        """uint8 images (B, C, H, W) to the detections in each, as predict returns them. patch_size [px]: None is the
        model's own. original: height and width that detections are scaled to [px]; None: H and W."""
        size = (image_BCHW.shape[-2], image_BCHW.shape[-1])
        samples = [Sample(size, original or size)] * len(image_BCHW)
        return self._detections(self._outputs(self.normalised(image_BCHW), samples, patch_size))

    def _outputs(self, image_BCHW: Tensor, samples: list[Sample], patch_size: int | None = None) -> HeadOutputs:
        """Outputs for normalised images."""
        config = at_patch(self.config, patch_size)
        check_tokens(config, (image_BCHW.shape[-2], image_BCHW.shape[-1]))
        image_BCHW = padded(_blank(image_BCHW, samples), size_multiple(config))
        features = self.features(image_BCHW, self.head.blocks, patch_size)
        return HeadOutputs(features, self.head(features, (image_BCHW.shape[-2], image_BCHW.shape[-1])), samples)

    def _losses(self, outputs: HeadOutputs) -> dict[str, Tensor]:
        """By name, (B,)."""
        return self.head.losses(outputs.dense, outputs.samples)

    def _detections(self, outputs: HeadOutputs) -> list[Detections]:
        return self.head.detections(outputs.dense, outputs.samples)

    def training_outputs(self, batch: Batch) -> tuple[Features, dict[str, Tensor]]:
        outputs = self._outputs(batch.pixels, self._samples(batch), batch.shape.patch_size)
        return outputs.features, self._losses(outputs)

    def supervised_loss(self, batch: Batch, outputs: dict[str, Tensor]) -> Tensor:
        return torch.stack(list(outputs.values())).sum(0).mean()

    def _samples(self, batch: Batch) -> list[Sample]:
        """The images of a batch for the head, with the seeds of their regions."""
        samples, targets = [], _instances(batch)
        for n, (height, width) in enumerate(targets.size_B2.tolist()):
            objects = Instances(targets.boxes[n], targets.labels[n], targets.masks[n], targets.crowd[n])
            if targets.truth:
                original = targets.truth[n].size
                seed = seed_of(self.config.seed, "evaluation_regions", targets.truth[n].image_id)
            else:
                original, boxes_n4 = (height, width), objects.boxes_n4[~objects.crowd_n]
                seed = seed_of(self.config.seed, "regions", self.global_step, boxes_n4.cpu().numpy().tobytes())
            samples.append(Sample((height, width), original, objects, seed))
        return samples

    def make_scores(self) -> ObjectScores:
        return ObjectScores(self.names)

    def _parts(self, batch: Batch, patch_size: int | None = None) -> list[Batch]:
        return list(same_size_parts(batch, size_multiple(at_patch(self.config, patch_size))))

    def evaluation_passes(self, batch: Batch, patch_size: int) -> int:
        return len(self._parts(batch, patch_size))

    def update_scores(self, batch: Batch, patch_size: int) -> None:
        scores = cast(ObjectScores, self.scores_at(patch_size))
        for part in self._parts(batch, patch_size):
            outputs = self._outputs(self.normalised(part.pixels), self._samples(part), patch_size)
            scores.update(self._losses(outputs), self._detections(outputs), _instances(part).truth)

    @torch.no_grad()
    def predict(self, batch: Batch) -> list[Detections]:
        """The detections in each image of a batch, best first, on the CPU and at the image's own size: boxes (N, 4)
        x0 y0 x1 y1 [px], scores (N,), labels (N,), masks (N, H, W) bool."""
        found: list[Detections] = []
        for part in self._parts(batch):
            found += self._detections(self._outputs(self.normalised(part.pixels), self._samples(part)))
        return found

    def to_coco_results(self, batch: Batch, categories: Sequence[int]) -> dict[str, list[Entry]]:
        """The detections in test images as COCO's result files list them: bbox, boxes, and segm, masks. categories:
        COCO's id of each class."""
        kinds: dict[str, list[Entry]] = {kind: [] for kind in coco_metric.KINDS.values()}
        for detections, truth in zip(self.predict(batch), _instances(batch).truth, strict=True):
            for kind, results in kinds.items():
                results += coco_metric.to_coco_results(detections, truth.image_id, categories, kind)
        return kinds

    def draw_predictions(self, batch: Batch) -> list[Image.Image]:
        targets = _instances(batch)
        images = [
            image_CHW[:, :height, :width]
            for image_CHW, (height, width) in zip(batch.pixels.cpu(), targets.size_B2.tolist(), strict=True)
        ]
        return [self._drawn(*each) for each in zip(images, targets.truth, self.predict(batch), strict=True)]

    def _drawn(self, image_CHW: Tensor, truth: GroundTruth, found: Detections) -> Image.Image:
        image = Image.fromarray(image_CHW.permute(1, 2, 0).contiguous().numpy())
        if image.size != (own := truth.size[::-1]):
            image = image.resize(own, Image.Resampling.BILINEAR)
        masks_nHW = coco_metric.decoded(truth.masks, truth.size).bool().numpy()
        objects = Drawn(truth.boxes_n4.numpy(), truth.label_n.numpy(), masks_nHW)
        detections = (found[name].numpy() for name in ("boxes", "labels", "masks", "scores"))
        return objects_side_by_side(np.asarray(image), objects, Drawn(*detections), self.names)


def _instances(batch: Batch) -> InstanceTargets:
    assert isinstance(batch.targets, InstanceTargets)
    return batch.targets


def same_size_parts(batch: Batch, multiple: int) -> Iterator[Batch]:
    """Runs of images whose sides round up to the same multiples, without the padding to larger ones: so the outputs for
    an image do not depend on the other images of its batch."""
    targets = _instances(batch)
    sizes = [tuple(rounded_up(side, multiple) for side in size) for size in targets.size_B2.tolist()]
    start = 0
    for end in range(1, len(sizes) + 1):
        if end < len(sizes) and sizes[end] == sizes[start]:
            continue
        (height, width), part = sizes[start], slice(start, end)
        of_part = InstanceTargets(
            targets.size_B2[part],
            targets.boxes[part],
            targets.labels[part],
            [masks_nHW[:, :height, :width] for masks_nHW in targets.masks[part]],
            targets.crowd[part],
            targets.truth[part],
        )
        pixels = batch.pixels[part, :, :height, :width]
        yield replace(batch, pixels=pixels, keys=batch.keys[part], targets=of_part)
        start = end


def _blank(image_BCHW: Tensor, samples: Sequence[Sample]) -> Tensor:
    """Normalised images with zeros, which are the unrounded mean colour, in their padding."""
    for image_CHW, sample in zip(image_BCHW, samples, strict=True):
        image_CHW[:, sample.size[0] :] = 0
        image_CHW[:, :, sample.size[1] :] = 0
    return image_BCHW
