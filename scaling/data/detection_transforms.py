"""Views of an image and the objects in it, and batches of such views: what is scaled, cut and flipped is so in all.

To train, images are scaled by their short side, or cut out after large-scale jitter (arXiv 2012.07177) as detectron2
does it. Random numbers come from the seed and the draw alone. h w sides of the stored image, H W of a view and of a
batch [px], n objects, C = 3 channels; boxes are x0 y0 x1 y1 [px].

A mask is made from the stored one by taking the pixel at the nearest centre, as for labels in
segmentation_transforms.py, and only where the object is: none of them is ever filled or scaled as a whole.
torchvision's transforms would scale a stack of whole masks, before the crop, and by the nearest corner: half a pixel
beside the image. So the same frame is put around image, boxes and masks here instead.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from scaling.data.batch import SampleKey
from scaling.data.dataset import TEST
from scaling.data.instance_store import InImage, run_ends, strip
from scaling.data.segmentation_transforms import GREY, scale_image, scaled, short_side
from scaling.data.transforms import uniform
from scaling.recipe import OBJECTS, Recipe

JITTER = (0.1, 2.0)  # by which an image that fits the crop is scaled
STREAM = 401  # of random numbers, beside those in transforms.py and segmentation_transforms.py


class Frame(NamedTuple):
    """The image is scaled to size, of that shape is cut out from the corner (top, left) on, and flipped left-right."""

    size: tuple[int, int]
    corner: tuple[int, int]
    shape: tuple[int, int]
    flip: bool


class Part(NamedTuple):
    """A mask as far as it has pixels: pixels, uint8, with the upper left one at top, left."""

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


def frame_of(size: tuple[int, int], recipe: Recipe, augment: str, draw: SampleKey) -> Frame:
    """How an image of this height and width is seen. augment: none, flip, one of OBJECTS, or TEST: as none."""
    flip = augment not in (TEST, "none") and bool(uniform([draw], recipe.seed, 1)[0, 0] < 0.5)
    if augment not in OBJECTS:
        whole = scaled(*size, short_side(recipe), recipe.long_side or math.inf)
        return Frame(whole, (0, 0), whole, flip)
    # Departs: detectron2 has one number say where the crop lies in height and in width.
    ratio, *at = uniform([draw], recipe.seed, 3, STREAM)[0]
    long = (JITTER[0] + (JITTER[1] - JITTER[0]) * ratio) * recipe.image
    whole = scaled(*size, math.inf, long)
    height, width = (min(recipe.image, side) for side in whole)
    top, left = (int((side - seen + 1) * u) for side, seen, u in zip(whole, (height, width), at, strict=True))
    return Frame(whole, (top, left), (height, width), flip)


def view(image_CHW: Tensor, objects: InImage, recipe: Recipe, augment: str, draw: SampleKey) -> View:
    """The view of an image that a draw asks for. Objects without a pixel in it are left out."""
    frame = frame_of(objects.size, recipe, augment, draw)
    box_n4 = seen_boxes(objects.box_n4, objects.size, frame)
    masks = seen_masks(objects.counts, objects.size, frame)
    if augment in OBJECTS:  # what a box was around may lie outside by now
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
    """Which of the stored pixels has the centre nearest to that of each pixel from start on, along one side."""
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


def together(
    views: list[View], step: int, least: int = 0, grey: Sequence[int] = GREY
) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    """The first six of batch.Objects: views at the upper left, filled up with grey to the largest, to `least` px at
    least and to a multiple of step px."""
    size_B2 = torch.tensor([v.image_CHW.shape[1:] for v in views], dtype=torch.int64).reshape(-1, 2)
    H, W = (padded(max([least, *sides]), step) for sides in (size_B2[:, 0].tolist(), size_B2[:, 1].tolist()))
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
    return image_BCHW, size_B2, boxes, labels, masks, crowd


def padded(side: int, step: int) -> int:
    """side, or the next multiple of step above it [px]."""
    return max(1, -(-side // step)) * step
