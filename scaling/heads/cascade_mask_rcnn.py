"""Boxes and masks of objects: Cascade Mask R-CNN (arXiv 1906.09756) as in mmdet, on a plain backbone at any patch.

The neck is ViTDet's (arXiv 2203.16527): from the last map alone, maps at strides 4 to 32, each by a 1 x 1 and a 3 x 3
convolution to `channels`, a LayerNorm after both; and every other place of the coarsest, at stride 64. The rest is
mmdet's, with its settings (cascade_config.py). There is no batch norm.
B batch, D width, C channels, h w of a map, H W of the images [px], n objects, N regions or detections.

The head computes in float32 at least, whatever the precision of the backbone: RoIAlign has no gradient in bf16, and
mmdet would round the corners of boxes to the dtype of the maps, in bf16 to several pixels.

Departs: an image's losses are means over its own samples, which are drawn by a seed of its own. mmdet takes the mean
over all samples on a device, so that its losses depend on the number of images that fit on a device, which is smaller
at small patches.
"""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from scaling.backbones.base import Features
from scaling.backbones.init import initialise_by_name
from scaling.heads.cascade_config import WEIGHTS, build_roi, build_rpn, training_proposals
from scaling.heads.feature_pyramid import FeaturePyramid
from scaling.heads.instance_masks import Masks
from scaling.model_specs import FPN_COARSEST, FPN_STRIDES, MAX_ROIS
from scaling.rng import seed_of, seeded


class Instances(NamedTuple):
    """The objects in an image. n objects, H W pixels of the batch."""

    boxes_n4: Tensor  # x0 y0 x1 y1 [px]
    labels_n: Tensor
    masks_nHW: Tensor
    crowd_n: Tensor  # bool: groups of objects, not learned; by mmdet's settings regions there are background


class Regions(NamedTuple):
    """The regions that an image's losses are taken over. Their choice among similar boxes may depend on rounding; the
    choice of anchors does not, it follows from the image's objects and the seed alone."""

    proposals_R4: Tensor  # x0 y0 x1 y1 [px]
    sampled: tuple[Any, ...]  # of each stage, mmdet's SamplingResult: boxes and the objects assigned to them


class Sample(NamedTuple):
    """One image of a batch."""

    size: tuple[int, int]  # height and width in the batch, at its top left [px]
    original: tuple[int, int]  # height and width that detections are scaled to [px]
    instances: Instances | None = None  # needed for its losses
    seed: int = 0  # of the samples that are drawn
    regions: Regions | None = None  # None: chosen from the head's outputs


class DenseOutputs(NamedTuple):
    """Outputs for a batch at every place of five maps, the finest first."""

    maps: tuple[Tensor, ...]  # (B, C, h, w), at strides 4 to 64
    scores: tuple[Tensor, ...]  # (B, anchors, h, w), logits of the region proposal network
    deltas: tuple[Tensor, ...]  # (B, 4 * anchors, h, w), how it moves and scales anchors

    def of_image(self, n: int) -> tuple[list[Tensor], ...]:
        """maps, scores and deltas of image n alone."""
        return tuple([level[n : n + 1] for level in levels] for levels in self)


class ImageLosses(NamedTuple):
    """Losses of one image."""

    losses: dict[str, Tensor]
    regions: Regions


class Neck(nn.Module):
    """A backbone's last map to five of C channels, at strides 4 to 64, contiguous."""

    def __init__(self, width: int, stride: int, channels: int) -> None:
        super().__init__()
        self.pyramid = FeaturePyramid(width, stride, FPN_STRIDES)
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, channels, 1, bias=False),
                LayerNorm2d(channels),
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                LayerNorm2d(channels),
            )
            for _ in FPN_STRIDES
        )

    def forward(self, map_BDhw: Tensor, size: tuple[int, int]) -> tuple[Tensor, ...]:
        """size: height and width of the images [px]."""
        found = self.pyramid([map_BDhw], size)
        maps = [level(map) for level, map in zip(self.levels, found, strict=True)]
        return tuple(map.contiguous() for map in (*maps, max_pool2d(maps[-1], 1, 2)))


class CascadeMaskRCNN(nn.Module):
    """Losses and detections of images from their features: forward, then losses or detections or both."""

    blocks: tuple[int, ...] = ()  # indices of the backbone's blocks whose maps it reads: it reads the last map alone
    entry_points = ("losses", "detections", "regions")  # methods besides forward that use weights (for sharding)

    def __init__(self, width: int, stride: int, classes: int, channels: int, rois: int = MAX_ROIS) -> None:
        super().__init__()
        self.neck = Neck(width, stride, channels)
        self.rpn: Any = build_rpn(channels, rois)
        self.roi: Any = build_roi(classes, channels, rois)
        self.proposals = training_proposals()

    def forward(self, features: Features, size: tuple[int, int]) -> DenseOutputs:
        """Maps, and the region proposal network's outputs at their places. size: height and width of the batch [px].
        Raises ValueError unless these are multiples of FPN_COARSEST."""
        if size[0] % FPN_COARSEST or size[1] % FPN_COARSEST:
            raise ValueError(f"images of {size[0]} x {size[1]} px: pad them to multiples of {FPN_COARSEST} px")
        map_BDhw = features.to_map()
        with torch.autocast(map_BDhw.device.type, enabled=False):
            maps = self.neck(map_BDhw.to(torch.promote_types(map_BDhw.dtype, torch.float32)), size)
            return DenseOutputs(maps, *self.rpn(maps))

    def losses(self, dense: DenseOutputs, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Losses of each image by name (B,): rpn_cls, rpn_box, then cls_0, box_0, mask_0 and so on of the stages,
        weighted as they are added up. samples: with their instances."""
        with torch.autocast(dense.maps[0].device.type, enabled=False):
            each = [self._losses(sample, *dense.of_image(n)).losses for n, sample in enumerate(samples)]
        return {name: torch.stack([losses[name] for losses in each]) for name in each[0]}

    def detections(self, dense: DenseOutputs, samples: Sequence[Sample]) -> list[dict[str, Tensor]]:
        """Detections of each image: boxes (N, 4) x0 y0 x1 y1 [px], scores (N,), labels (N,) and masks (N, height,
        width) at the original size, in descending order of scores, on the CPU."""
        with torch.autocast(dense.maps[0].device.type, enabled=False):
            return [self._detections(sample, *dense.of_image(n)) for n, sample in enumerate(samples)]

    @torch.no_grad()
    def regions(self, dense: DenseOutputs, samples: Sequence[Sample]) -> list[Regions]:
        """The regions that the losses of each image are taken over. Given to the samples again, they fix all choices:
        losses and gradients are then continuous, and do not depend on the batch but for rounding."""
        with torch.autocast(dense.maps[0].device.type, enabled=False):
            return [self._losses(sample, *dense.of_image(n)).regions for n, sample in enumerate(samples)]

    def _losses(self, sample: Sample, maps: list[Tensor], scores: list[Tensor], deltas: list[Tensor]) -> ImageLosses:
        """Losses of one image, and the regions that they are taken over."""
        from mmengine.structures import InstanceData

        if sample.instances is None:
            raise ValueError("an image without its objects has no losses")
        boxes_n4, labels_n, masks_nHW, crowd_n = sample.instances
        meta, kept = _meta(sample), ~crowd_n
        objects = InstanceData(bboxes=boxes_n4[kept], labels=labels_n[kept], masks=Masks(masks_nHW[kept]))
        one_class = InstanceData(bboxes=objects.bboxes, labels=torch.zeros_like(objects.labels))
        ignored = InstanceData(bboxes=boxes_n4[crowd_n])
        with seeded(sample.seed):  # mmdet's RandomSampler takes torch's generator of the CPU, on any device
            rpn = self.rpn.loss_by_feat(scores, deltas, [one_class], [meta], [ignored])
            proposals_R4 = sample.regions.proposals_R4 if sample.regions else self._proposals(scores, deltas, sample)
            found = {"rpn_cls": sum(rpn["loss_rpn_cls"]), "rpn_box": sum(rpn["loss_rpn_bbox"])}
            boxes, sampled = InstanceData(bboxes=proposals_R4), []
            for stage, weight in enumerate(WEIGHTS):  # as mmdet's CascadeRoIHead.loss
                if sample.regions:
                    sampled.append(sample.regions.sampled[stage])
                else:
                    sampled.append(self._sampled(stage, boxes, objects, ignored))
                box = self.roi.bbox_loss(stage, maps, sampled[-1:])
                masks = self.roi.mask_loss(stage, maps, sampled[-1:], [objects])["loss_mask"]
                losses = {"cls": box["loss_bbox"]["loss_cls"], "box": box["loss_bbox"]["loss_bbox"], **masks}
                for ours, loss in losses.items():
                    found[f"{ours.removeprefix('loss_')}_{stage}"] = weight * loss.sum()  # of one number
                if stage < len(WEIGHTS) - 1:
                    with torch.no_grad():
                        (boxes,) = self.roi.bbox_head[stage].refine_bboxes(sampled[-1:], box, [meta])
        return ImageLosses(found, Regions(proposals_R4, tuple(sampled)))

    def _proposals(self, scores: list[Tensor], deltas: list[Tensor], sample: Sample) -> Tensor:
        """Boxes (R, 4) of the region proposal network in an image, in training."""
        meta = _meta(sample)
        (found,) = self.rpn.predict_by_feat(scores, deltas, batch_img_metas=[meta], cfg=self.proposals)
        if len(found):
            return found.bboxes
        # Training on several devices needs gradients of all weights from every image, so the whole image is a region.
        height, width = sample.size
        return found.bboxes.new_tensor([[0, 0, width, height]])

    def _sampled(self, stage: int, boxes: Any, objects: Any, ignored: Any) -> Any:
        """The boxes that a stage is trained on, drawn by torch's CPU generator."""
        boxes.priors = boxes.pop("bboxes")
        assigned = self.roi.bbox_assigner[stage].assign(boxes, objects, ignored)
        return self.roi.bbox_sampler[stage].sample(assigned, boxes, objects)

    def _detections(
        self, sample: Sample, maps: list[Tensor], scores: list[Tensor], deltas: list[Tensor]
    ) -> dict[str, Tensor]:
        """Detections of one image."""
        from mmdet.structures import DetDataSample

        meta = _meta(sample)
        proposals = self.rpn.predict_by_feat(scores, deltas, batch_img_metas=[meta])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "To copy construct from a tensor")  # by mmdet's mask head
            (found,) = self.roi.predict(maps, proposals, [DetDataSample(metainfo=meta)], rescale=True)
        named = {"boxes": found.bboxes, "scores": found.scores, "labels": found.labels, "masks": found.masks}
        return {name: value.cpu() for name, value in named.items()}  # masks of a batch are large


def _meta(sample: Sample) -> dict[str, Any]:
    """mmdet's metadata of an image. pad_shape is its own size, so that anchors in the padding are no samples."""
    (height, width), (full_height, full_width) = sample.size, sample.original
    shapes = dict.fromkeys(("img_shape", "pad_shape", "batch_input_shape"), (height, width))
    return {**shapes, "ori_shape": sample.original, "scale_factor": (width / full_width, height / full_height)}


def draw(module: nn.Module, name: str) -> None:
    """Initialise the own parameters of one module, as mmdet's init_cfg do; of the neck as mmdet's FPN."""
    if isinstance(module, nn.ConvTranspose2d | nn.LayerNorm) and name.startswith("neck."):
        module.reset_parameters()  # norms: 1 and 0
        return
    if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        return
    if name.startswith("rpn.") or name.endswith("fc_cls"):
        nn.init.normal_(module.weight, std=0.01)
    elif name.endswith("fc_reg"):
        nn.init.normal_(module.weight, std=0.001)
    elif name.startswith("roi.mask_head."):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    else:
        nn.init.xavier_uniform_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def build_head(
    width: int, stride: int, classes: int, channels: int, seed: int, rois: int = MAX_ROIS
) -> CascadeMaskRCNN:
    """The head on maps of that width and stride [px], its weights drawn from the seed and the names of modules, so that
    they are equal at all patch sizes. channels: of the neck and the heads; rois: regions sampled from an image."""
    with seeded(seed_of(seed, "construction")):
        head = CascadeMaskRCNN(width, stride, classes, channels, rois)
    initialise_by_name(head, seed, draw)
    return head
