"""Random crops at the scale of the image, whose share of the side follows a schedule (PGPS, arXiv 2407.07853: patches
of a volume that grow in training). B batch, H W pixels."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from scaling.config.step_shapes import StepShape
from scaling.data.batch import Batch, MaskTargets
from scaling.rng import uniform


def whole(shape: StepShape | None) -> StepShape | None:
    """The shape that images have before they are cropped."""
    return StepShape(shape.patch_size, shape.cropped_from) if shape and shape.cropped_from else shape


def scheduled_crop(batch: Batch, shape: StepShape | None, seed: int) -> Batch:
    """The batch, of images of the shape `whole`, with crops of this shape; label maps are cropped alike. Where a crop
    lies is a function of the image's key and the seed."""
    if not shape or not shape.cropped_from:
        return batch
    places = shape.cropped_from - shape.img_size + 1
    corner_B2 = (uniform(batch.keys, seed, "scheduled_crop", 2) * places).astype(np.int64)
    targets = batch.targets
    if isinstance(targets, MaskTargets):
        targets = MaskTargets(_cropped(targets.label_BHW, corner_B2, shape.img_size))
    return replace(batch, pixels=_cropped(batch.pixels, corner_B2, shape.img_size), shape=shape, targets=targets)


def _cropped(images: Tensor, corner_B2: np.ndarray, side: int) -> Tensor:
    """(B, ..., H, W) to (B, ..., side, side)."""
    crops = [one[..., y : y + side, x : x + side] for one, (y, x) in zip(images, corner_B2.tolist(), strict=True)]
    return torch.stack(crops)
