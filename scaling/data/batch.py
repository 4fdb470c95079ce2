"""What a loader hands to a task, and how pixels become numbers. B batch, C = 3 channels, H W pixels.

torch is imported where numbers are made: what looks at a data folder before a run answers without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from scaling.pixels import MEAN, STD

if TYPE_CHECKING:
    from torch import Tensor

UNLABELLED = 255  # in a label: no class, neither learned nor counted; so classes are 0 to 254


class Batch(NamedTuple):
    """Images and their labels. Bytes, not floats, go to the device: a quarter of the traffic."""

    image_BCHW: Tensor  # uint8
    label_B: Tensor  # int64
    skipped: int = 0  # images asked for that cannot be read: in training others took their places
    # Numbers in [0, 1), a row an image and a column a branch that may be dropped: they follow from the draws, so that
    # stochastic depth does not depend on how a batch is cut up. None: nothing is dropped.
    random_BS: Tensor | None = None


class Scenes(NamedTuple):
    """Images and the class of each of their pixels. Images may be larger or smaller than their labels."""

    image_BCHW: Tensor  # uint8
    label_BHW: Tensor  # uint8; UNLABELLED where there is none
    skipped: int = 0  # these two as in Batch
    random_BS: Tensor | None = None


class Objects(NamedTuple):
    """Images and the objects in them. n objects in an image; classes from 0; boxes are x0 y0 x1 y1 [px]."""

    image_BCHW: Tensor  # uint8; each at the top left, filled up to the largest with the mean colour
    size_B2: Tensor  # int64, height and width of each image in it [px]
    boxes: list[Tensor]  # (n, 4) float32
    labels: list[Tensor]  # (n,) int64
    masks: list[Tensor]  # (n, H, W) uint8, H and W those of image_BCHW
    crowd: list[Tensor]  # (n,) bool: a region, no single object: neither learned nor held against a detection
    skipped: int = 0  # these two as in Batch
    random_BS: Tensor | None = None
    # For a test, the objects as the data has them, in the image's own pixels: image_id (int), size (height, width),
    # boxes, labels, crowd, area (n,) float32 [px^2], masks as COCO's run lengths (n dicts of size and counts).
    truth: tuple[dict[str, Any], ...] = ()


class SampleKey(NamedTuple):
    """One image of the training stream: which one, in which epoch, the how manieth of its copies there (repeated
    augmentation). Augmentation depends on all three and on the seed."""

    epoch: int
    image: int
    copy: int = 0


def normalise(image_BCHW: Tensor, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> Tensor:
    """uint8 pixels to float32 with about zero mean and unit variance, on the device where they are. mean, std: what the
    backbone that they go to takes them for, `backbone.mean` and `backbone.std`."""
    import torch

    mean_1C11, std_1C11 = (
        torch.tensor(list(t), device=image_BCHW.device).mul_(255).view(1, -1, 1, 1) for t in (mean, std)
    )
    return image_BCHW.float().sub_(mean_1C11).div_(std_1C11)
