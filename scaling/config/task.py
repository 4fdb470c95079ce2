"""Classification, Segmentation, Detection: what is learned, with which head, augmentation and evaluation.

Each task has its own fields only; a field of another task is an error.
"""

from dataclasses import dataclass
from typing import ClassVar

from scaling.config.fields import Bounds, check, check_fields, config_field

# augmentations that change the geometry of an image, made one image at a time
VIEWS = ("resized_crop", "three_augment", "three_augment_simple")  # of classification
RESIZED_CROPS = ("resize_crop", "resize_crop_photometric")  # of segmentation
JITTERS = ("lsj",)  # of detection
SHARE = Bounds(at_least=0, below=1)


@dataclass(frozen=True, kw_only=True)
class LinearHead:
    """One linear layer, on the pooled feature or on each token. head_channels is the width that a switch to another one
    starts from; it has no effect here, and is part of the run IDs of version 1."""

    kind: ClassVar[str] = "linear"
    head_channels: int = config_field(
        "hidden channels of UperNet, or of the feature pyramid and heads of Cascade Mask R-CNN",
        192,
        bounds=Bounds(at_least=1),
        retained=True,
    )

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class MeanHead:
    """One linear layer on the mean of the patch tokens."""

    kind: ClassVar[str] = "avg"


@dataclass(frozen=True, kw_only=True)
class AttentionPoolHead:
    """Attention pooling of the patch tokens, an MLP and a linear layer (arXiv 2302.05442, arXiv 2307.06304)."""

    kind: ClassVar[str] = "map"


@dataclass(frozen=True, kw_only=True)
class UperNetHead:
    """UperNet (arXiv 1807.10221)."""

    kind: ClassVar[str] = "upernet"
    head_channels: int = config_field("hidden channels of UperNet", 192, bounds=Bounds(at_least=1))

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class CascadeMaskRCNN:
    """Cascade Mask R-CNN (arXiv 1906.09756)."""

    kind: ClassVar[str] = "cascade_mask_rcnn"
    head_channels: int = config_field(
        "channels of the feature pyramid and of the heads of Cascade Mask R-CNN", 192, bounds=Bounds(at_least=1)
    )

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class WholeImages:
    """Evaluation of whole images at once."""

    kind: ClassVar[str] = "whole"


@dataclass(frozen=True, kw_only=True)
class SlidingWindow:
    """Evaluation in windows of img_size px."""

    kind: ClassVar[str] = "slide"
    slide_stride: int = config_field(
        "distance between windows of img_size px in evaluation", 1, unit="px", bounds=Bounds(at_least=1)
    )

    def __post_init__(self) -> None:
        check_fields(self)


CLASSIFICATION_HEADS: dict[str, type] = {c.kind: c for c in (LinearHead, MeanHead, AttentionPoolHead)}
SEGMENTATION_HEADS: dict[str, type] = {c.kind: c for c in (LinearHead, UperNetHead)}
DETECTION_HEADS: dict[str, type] = {c.kind: c for c in (CascadeMaskRCNN,)}
EVAL_MODES: dict[str, type] = {c.kind: c for c in (WholeImages, SlidingWindow)}


@dataclass(frozen=True, kw_only=True)
class Classification:
    """One label per image. Loss: cross-entropy [nats]."""

    kind: ClassVar[str] = "classify"
    head: LinearHead | MeanHead | AttentionPoolHead = config_field(
        "classification: linear (on the class token), avg (on the mean of the patch tokens) or map (attention "
        "pooling, arXiv 2302.05442); segmentation: linear (one layer per token) or upernet",
        LinearHead(),
        registry=CLASSIFICATION_HEADS,
    )
    crop_pct: float = config_field(
        "share of the test image's side kept by the centre crop; one value for a whole sweep (the released code takes "
        "0.875 at patch 16 and 1.0 below)",
        1.0,
        bounds=Bounds(above=0, at_most=1),
    )
    smoothing: float = config_field(
        "label smoothing (arXiv 1512.00567) in the training loss; never in the test loss", 0.0, bounds=SHARE
    )
    augment: str = config_field(
        "training augmentation; classification: none, flip, pad_crop_flip (shift by up to 1/8 of the side), "
        "resized_crop (random resized crop and flip; arXiv 1409.4842), three_augment (arXiv 2204.07118), "
        "three_augment_simple (the same on a simple random crop); segmentation: none, flip, resize_crop (scaled by 0.5 "
        "to 2, cropped, flipped), resize_crop_photometric (and colours distorted); detection: none, flip, lsj "
        "(large-scale jitter, arXiv 2012.07177)",
        "none",
        choices=("none", "flip", "pad_crop_flip", *VIEWS),
        common=True,
    )
    auto_augment: str | None = config_field(
        "RandAugment (arXiv 1909.13719) after the crop, in timm's notation, as rand-m9-mstd0.5-inc1", None
    )
    random_erasing_prob: float = config_field(
        "share of training images with a random rectangle erased (arXiv 1708.04896)",
        0.0,
        bounds=Bounds(at_least=0, at_most=1),
    )
    mixup: float = config_field(
        "mixup (arXiv 1710.09412): alpha of the Beta distribution; 0: none", 0.0, bounds=Bounds(at_least=0)
    )
    cutmix: float = config_field(
        "CutMix (arXiv 1905.04899): alpha of the Beta distribution; 0: none", 0.0, bounds=Bounds(at_least=0)
    )
    aug_repeats: int = config_field(
        "repeated augmentation (arXiv 1901.09335): copies of an image in a batch; the length of an epoch is unchanged",
        1,
        bounds=Bounds(at_least=1, at_most=16),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        rule = f"needs augment to be one of {', '.join(VIEWS)}"
        check(self.auto_augment is None or self.augment in VIEWS, "auto_augment", self.auto_augment, rule)


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """One label per pixel. Loss: cross-entropy [nats], mean over pixels."""

    kind: ClassVar[str] = "segment"
    head: LinearHead | UperNetHead = config_field(
        "segmentation: linear (one layer per token) or upernet",
        LinearHead(),
        registry=SEGMENTATION_HEADS,
        common=True,
    )
    eval_mode: WholeImages | SlidingWindow = config_field(
        "evaluation: whole images at once, or slide (windows of img_size px)",
        WholeImages(),
        registry=EVAL_MODES,
        by_leaf=True,
    )
    augment: str = config_field(
        "training augmentation: none, flip, resize_crop (scaled by 0.5 to 2, cropped, flipped), "
        "resize_crop_photometric (and colours distorted)",
        "none",
        choices=("none", "flip", *RESIZED_CROPS),
        common=True,
    )
    smoothing: float = config_field(
        "label smoothing (arXiv 1512.00567) in the training loss; never in the test loss", 0.0, bounds=SHARE
    )
    resize_short: int | None = config_field(
        "segmentation, detection: resize the shorter side to this before cropping or evaluation; default: img_size",
        None,
        unit="px",
        bounds=Bounds(at_least=1),
    )
    ignore_index: int = config_field(
        "segmentation: value of pixels without a class in label files, besides 255 where that is no class; higher "
        "values are shifted down by one, so 0 is mmseg's reduce_zero_label=True",
        255,
        bounds=Bounds(at_least=0),
    )

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def slide_stride(self) -> int | None:
        """Distance between windows in evaluation [px]; None: whole images."""
        return getattr(self.eval_mode, "slide_stride", None)


@dataclass(frozen=True, kw_only=True)
class Detection:
    """Boxes and masks. Loss: the sum of the losses of Cascade Mask R-CNN, mean over images."""

    kind: ClassVar[str] = "detect"
    head: CascadeMaskRCNN = config_field("cascade_mask_rcnn", CascadeMaskRCNN(), registry=DETECTION_HEADS, common=True)
    augment: str = config_field(
        "training augmentation: none, flip, lsj (large-scale jitter, arXiv 2012.07177: scaled by 0.1 to 2, cropped, "
        "flipped)",
        "none",
        choices=("none", "flip", *JITTERS),
        common=True,
    )
    resize_short: int | None = config_field(
        "resize the shorter side to this; default: img_size", None, unit="px", bounds=Bounds(at_least=1)
    )
    max_long: int | None = config_field(
        "detection: limit of the longer side after resizing; default: none", None, unit="px", bounds=Bounds(at_least=1)
    )
    filter_empty_gt: bool = config_field("detection: leave out training images without an object", True)

    def __post_init__(self) -> None:
        check_fields(self)


TASKS: dict[str, type] = {c.kind: c for c in (Classification, Segmentation, Detection)}


def base_kind(task: object) -> str:
    """The task of this file that a task is, or that the class of a plug-in's task extends: classify, segment or detect;
    "" for none of them."""
    return next((cls.kind for cls in (Classification, Segmentation, Detection) if isinstance(task, cls)), "")
