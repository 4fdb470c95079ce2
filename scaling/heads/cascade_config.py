"""Cascade Mask R-CNN (arXiv 1906.09756) behind the neck, built by mmdet, with its settings.

Source: configs/_base_/models/cascade-mask-rcnn_r50_fpn.py of mmdet 3.3; tests compare every setting. The hidden layers
of the box heads are 4 x channels wide, which is its 1,024 at its 256 channels.

Departs: anchors that cross the image's border are used, as in mmdet's Mask R-CNN and in ViTDet. mmdet's cascade ignores
them, and fails where an image has no others, as is often so after large-scale jitter.
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

from scaling.heads.openmmlab import build, ready
from scaling.model_specs import (
    ANCHOR_RATIOS,
    ANCHOR_SCALES,
    ANCHOR_STRIDES,
    BOX_SIDE,
    CASCADE_STAGES,
    FPN_STRIDES,
    MASK_FRACTION,
    MASK_SIDE,
    MAX_DETECTIONS,
    MAX_PROPOSALS,
)

IOUS = (0.5, 0.6, 0.7)  # least overlap of a region with its object, per stage
STDS = (
    (0.1, 0.1, 0.2, 0.2),
    (0.05, 0.05, 0.1, 0.1),
    (0.033, 0.033, 0.067, 0.067),
)  # standard deviations of the box regression targets, per stage
WEIGHTS = (1.0, 0.5, 0.25)  # of the stages' losses
PROPOSALS = {"nms": {"type": "nms", "iou_threshold": 0.7}, "min_bbox_size": 0}


def training_proposals() -> Any:
    """mmdet's settings for the proposals that are used in training."""
    return _config({"nms_pre": 2000, "max_per_img": 2000, **PROPOSALS})


def build_rpn(channels: int, rois: int) -> nn.Module:
    """Region proposal network (RPN). rois: as in build_roi."""
    settings = rpn_settings(channels, rois)
    return build("detection", _config(settings))


def build_roi(classes: int, channels: int, rois: int) -> nn.Module:
    """The three stages of box and mask heads. rois: regions sampled from an image in training."""
    return build("detection", _config(roi_settings(classes, channels, rois)))


def rpn_settings(channels: int, rois: int) -> dict[str, Any]:
    """mmdet's settings of build_rpn."""
    return {
        "type": "RPNHead",
        "in_channels": channels,
        "feat_channels": channels,
        "anchor_generator": {
            "type": "AnchorGenerator",
            "scales": [*ANCHOR_SCALES],
            "ratios": [*ANCHOR_RATIOS],
            "strides": [*ANCHOR_STRIDES],
        },
        "bbox_coder": _coder([1.0] * 4),
        "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
        "loss_bbox": _smooth_l1(1 / 9),
        "train_cfg": {
            "assigner": _assigner(0.7, 0.3, 0.3, low_quality=True),
            "sampler": _sampler(rois // 2, 0.5, add_objects=False),
            "allowed_border": -1,
            "pos_weight": -1,
        },
        "test_cfg": {"nms_pre": 1000, "max_per_img": MAX_PROPOSALS, **PROPOSALS},
    }


def roi_settings(classes: int, channels: int, rois: int) -> dict[str, Any]:
    """mmdet's settings of build_roi."""
    cross_entropy = {"type": "CrossEntropyLoss", "loss_weight": 1.0}
    boxes = {
        "type": "Shared2FCBBoxHead",
        "in_channels": channels,
        "fc_out_channels": 4 * channels,
        "roi_feat_size": BOX_SIDE,
        "num_classes": classes,
        "reg_class_agnostic": True,
        "loss_cls": {**cross_entropy, "use_sigmoid": False},
        "loss_bbox": _smooth_l1(1.0),
    }
    masks = {
        "type": "FCNMaskHead",
        "num_convs": 4,
        "in_channels": channels,
        "conv_out_channels": channels,
        "num_classes": classes,
        "loss_mask": {**cross_entropy, "use_mask": True},
    }
    training = [
        {
            "assigner": _assigner(iou, iou, iou, low_quality=False),
            "sampler": _sampler(rois, MASK_FRACTION, add_objects=True),
            "mask_size": 2 * MASK_SIDE,
            "pos_weight": -1,
        }
        for iou in IOUS
    ]
    testing = {
        "score_thr": 0.05,
        "nms": {"type": "nms", "iou_threshold": 0.5},
        "max_per_img": MAX_DETECTIONS,
        "mask_thr_binary": 0.5,
    }
    return {
        "type": "CascadeRoIHead",
        "num_stages": CASCADE_STAGES,
        "stage_loss_weights": list(WEIGHTS),
        "bbox_roi_extractor": _extractor(BOX_SIDE, channels),
        "bbox_head": [{**boxes, "bbox_coder": _coder(stds)} for stds in STDS],
        "mask_roi_extractor": _extractor(MASK_SIDE, channels),
        "mask_head": masks,
        "train_cfg": training,
        "test_cfg": testing,
    }


def _assigner(positive: float, negative: float, least: float, low_quality: bool) -> dict[str, Any]:
    limits = {"pos_iou_thr": positive, "neg_iou_thr": negative, "min_pos_iou": least}
    return {"type": "MaxIoUAssigner", **limits, "match_low_quality": low_quality, "ignore_iof_thr": -1}


def _sampler(number: int, positive: float, add_objects: bool) -> dict[str, Any]:
    counts = {"num": number, "pos_fraction": positive, "neg_pos_ub": -1}
    return {"type": "RandomSampler", **counts, "add_gt_as_proposals": add_objects}


def _coder(stds: Sequence[float]) -> dict[str, Any]:
    return {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0] * 4, "target_stds": list(stds)}


def _smooth_l1(beta: float) -> dict[str, Any]:
    return {"type": "SmoothL1Loss", "beta": beta, "loss_weight": 1.0}


def _extractor(side: int, channels: int) -> dict[str, Any]:
    layer = {"type": "RoIAlign", "output_size": side, "sampling_ratio": 0}
    return {
        "type": "SingleRoIExtractor",
        "roi_layer": layer,
        "out_channels": channels,
        "featmap_strides": [*FPN_STRIDES],
    }


def _config(settings: dict[str, Any]) -> Any:
    """mmdet reads some of its settings as attributes."""
    ready()
    from mmengine.config import ConfigDict

    return ConfigDict(settings)
