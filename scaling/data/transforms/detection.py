"""Joint transforms of an image, its boxes and its masks, and batches of such views.

Training images are resized by their short side, or cropped after large-scale jitter (arXiv 2012.07177) as in
detectron2. Random numbers are functions of seed and sample key (rng.py). h w sides of the stored image, H W of a view
and of a batch [px], n objects, C = 3 channels; boxes are x0 y0 x1 y1 [px].

A mask is resampled from the stored one by the nearest pixel centre, as label maps in segmentation.py, and
only where the object is: no whole mask is ever decoded or resized. torchvision's transforms would resize a stack of
whole masks before the crop, by the nearest corner, which is half a pixel beside the image. So one Frame is applied to
image, boxes and masks here instead.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from scaling.config.experiment import ExperimentConfig
from scaling.config.task import JITTERS
from scaling.data.batch import InstanceTargets, Split
from scaling.data.coco.instance_store import ImageObjects, run_ends, strip
from scaling.data.transforms.segmentation import GREY, scale_image, scaled, short_side
from scaling.rng import SampleKey, uniform

JITTER = (0.1, 2.0)  # scale of an image relative to the one that fits the crop


class Frame(NamedTuple):
    """The image is resized to size, a crop of shape with its corner at (top, left) is taken, and flipped left-right."""

    size: tuple[int, int]
    corner: tuple[int, int]
    shape: tuple[int, int]
    flip: bool


class Part(NamedTuple):
    """The bounding rectangle of a mask: its pixels, uint8, and where the top left one is."""

    top: int
    left: int
    pixels: np.ndarray


class View(NamedTuple):
    """An image and the n objects that are in it."""

    image_CHW: Tensor  # uint8
    box_n4: np.ndarray  # float32
    label_n: np.ndarray
    crowd_n: np.ndarray
    masks: list[Part]


def augmentation(config: ExperimentConfig, split: Split) -> str:
    """none, flip or one of OBJECTS."""
    return config.task.augment if split is Split.TRAIN else "none"


def frame_of(size: tuple[int, int], config: ExperimentConfig, split: Split, key: SampleKey = SampleKey(0, 0)) -> Frame:  # noqa: B008  a tuple
    """The frame of an image of this height and width [px]. In VAL it is the same for every key."""
    augment = augmentation(config, split)
    flip = augment != "none" and bool(uniform([key], config.seed, "flip")[0, 0] < 0.5)
    if augment not in JITTERS:
        whole = scaled(*size, short_side(config), config.detection.max_long or math.inf)
        return Frame(whole, (0, 0), whole, flip)
    # Departs: detectron2 places the crop by one number in height and in width.
    ratio, *at = uniform([key], config.seed, "detection_crop", 3)[0]
    long = (JITTER[0] + (JITTER[1] - JITTER[0]) * ratio) * config.model.img_size
    whole = scaled(*size, math.inf, long)
    height, width = (min(config.model.img_size, side) for side in whole)
    top, left = (int((side - seen + 1) * u) for side, seen, u in zip(whole, (height, width), at, strict=True))
    return Frame(whole, (top, left), (height, width), flip)


def view(image_CHW: Tensor, objects: ImageObjects, config: ExperimentConfig, split: Split, key: SampleKey) -> View:
    """The view of an image. Objects without a pixel in it are left out."""
    frame = frame_of(objects.size, config, split, key)
    box_n4 = seen_boxes(objects.box_n4, objects.size, frame)
    masks = seen_masks(objects.counts, objects.size, frame)
    if augmentation(config, split) in JITTERS:  # a part of an object may have been cropped away
        for box, part in zip(box_n4, masks, strict=True):
            if part is not None:
                height, width = part.pixels.shape
                box[:] = part.left, part.top, part.left + width, part.top + height
    sides = box_n4[:, 2:] - box_n4[:, :2]
    kept = [(k, part) for k, part in enumerate(masks) if part is not None and sides[k].min() > 0]
    which = [k for k, _ in kept]
    return View(
        seen_image(image_CHW, frame),
        box_n4[which],
        objects.label_n[which],
        objects.crowd_n[which],
        [part for _, part in kept],
    )


def seen_image(image_CHW: Tensor, frame: Frame) -> Tensor:
    """The image in its frame."""
    (top, left), (height, width) = frame.corner, frame.shape
    image_CHW = scale_image(image_CHW, frame.size)[:, top : top + height, left : left + width]
    return image_CHW.flip(2) if frame.flip else image_CHW


def seen_boxes(box_n4: np.ndarray, size: tuple[int, int], frame: Frame) -> np.ndarray:
    """The boxes in the frame of an image of this size, float32; of no width or height where they are outside."""
    (top, left), (height, width) = frame.corner, frame.shape
    down, across = (new / old for new, old in zip(frame.size, size, strict=True))
    x_n2 = np.clip(box_n4[:, 0::2] * across - left, 0, width)
    y_n2 = np.clip(box_n4[:, 1::2] * down - top, 0, height)
    if frame.flip:
        x_n2 = width - x_n2[:, ::-1]
    return np.stack([x_n2[:, 0], y_n2[:, 0], x_n2[:, 1], y_n2[:, 1]], 1).astype(np.float32)


def seen_masks(counts: Sequence[bytes], size: tuple[int, int], frame: Frame) -> list[Part | None]:
    """The masks in the frame of an image of this size; None where nothing of it is seen."""
    rows, columns = (_sources(*where) for where in zip(size, frame.size, frame.corner, frame.shape, strict=True))
    return [_seen(text, size[0], rows, columns, frame.flip) for text in counts]


def _sources(stored: int, scaled_to: int, start: int, length: int) -> np.ndarray:
    """Index of the stored pixel whose centre is nearest to that of each pixel from start on, along one side."""
    return (2 * np.arange(start, start + length) + 1) * stored // (2 * scaled_to)


def _seen(counts: bytes, height: int, rows: np.ndarray, columns: np.ndarray, flip: bool) -> Part | None:
    first, pixels_wh = strip(run_ends(counts), height)
    left, right = np.searchsorted(columns, [first, first + len(pixels_wh)])
    if left == right:
        return None
    filled = np.flatnonzero(pixels_wh.any(0))  # never empty: there are columns
    top, bottom = np.searchsorted(rows, [filled[0], filled[-1] + 1])
    pixels = pixels_wh[columns[left:right] - first][:, rows[top:bottom]].T
    down, across = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    if not len(down):
        return None
    pixels = pixels[down[0] : down[-1] + 1, across[0] : across[-1] + 1]
    left = int(left + across[0])
    if flip:
        left, pixels = len(columns) - left - pixels.shape[1], pixels[:, ::-1]
    return Part(int(top + down[0]), left, pixels)


def collate(
    views: list[View], multiple: int, least: int = 0, grey: Sequence[int] = GREY
) -> tuple[Tensor, InstanceTargets]:
    """Pixels (B, 3, H, W) and targets: views at the top left, padded with grey to the largest one, to `least` px at
    least, and to a multiple of `multiple` px."""
    size_B2 = torch.tensor([v.image_CHW.shape[1:] for v in views], dtype=torch.int64).reshape(-1, 2)
    H, W = (rounded_up(max([least, *sides]), multiple) for sides in (size_B2[:, 0].tolist(), size_B2[:, 1].tolist()))
    image_BCHW = torch.empty((len(views), 3, H, W), dtype=torch.uint8)
    image_BCHW[:] = torch.tensor(grey, dtype=torch.uint8).view(3, 1, 1)
    masks = []
    for image_CHW, v in zip(image_BCHW, views, strict=True):
        image_CHW[:, : v.image_CHW.shape[1], : v.image_CHW.shape[2]] = v.image_CHW
        mask_nHW = torch.zeros((len(v.masks), H, W), dtype=torch.uint8)
        for mask_HW, (top, left, pixels) in zip(mask_nHW.numpy(), v.masks, strict=True):
            mask_HW[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        masks.append(mask_nHW)
    boxes, labels, crowd = ([torch.from_numpy(v[part]) for v in views] for part in (1, 2, 3))
    return image_BCHW, InstanceTargets(size_B2, boxes, labels, masks, crowd)


def rounded_up(side: int, multiple: int) -> int:
    """The least multiple that is not below side, and not 0 [px]."""
    return max(1, -(-side // multiple)) * multiple
