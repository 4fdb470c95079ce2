"""Batch: what a data loader hands to a task, with the targets of its kind, and normalisation of pixels.

B batch, C = 3 channels, H W pixels, n objects in an image. torch is imported where tensors are made: what checks a data
folder before a run starts without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, TypedDict, cast

from scaling.config.step_shapes import StepShape
from scaling.preprocessing import MEAN, STD
from scaling.rng import SampleKey

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from scaling.packing.packed_images import PackedImages
    from scaling.packing.packed_rows import PackedRows

IGNORE_INDEX = 255  # ignore index of label maps: neither trained on nor evaluated; so class indices are 0 to 254


class Split(Enum):
    """How images are prepared: TRAIN with the augmentation of the recipe, VAL (held-out and test images) without."""

    TRAIN = "train"
    VAL = "val"


class ClassTargets(NamedTuple):
    """One class per image."""

    label_B: Tensor  # int64
    mixed_BK: Tensor | None = None  # float32 class probabilities in place of label_B, after Mixup, CutMix, smoothing


class MaskTargets(NamedTuple):
    """One class per pixel. Images may be larger or smaller than their label maps."""

    label_BHW: Tensor  # uint8, IGNORE_INDEX where there is no class


class PackedMaskTargets(NamedTuple):
    """One class per pixel of packed images."""

    labels: list[Tensor]  # (H, W) of each image, uint8; in evaluation images may be larger or smaller
    mean_pixels: float  # of a training image [px^2]; 0 in evaluation


class RunLengths(TypedDict):
    """A mask in COCO's form."""

    size: list[int]  # height, width [px]
    counts: bytes  # compressed


class GroundTruth(NamedTuple):
    """The objects of an image as the data has them, in the image's own pixels, for evaluation."""

    image_id: int
    size: tuple[int, int]  # height, width [px]
    boxes_n4: Tensor  # float32, x0 y0 x1 y1 [px]
    label_n: Tensor  # int64
    crowd_n: Tensor  # bool
    area_n: Tensor  # float32 [px^2]
    masks: list[RunLengths]


class InstanceTargets(NamedTuple):
    """Boxes and masks. An image lies at the top left of its row; the rest of the row has the mean colour."""

    size_B2: Tensor  # int64, height and width of each image in its row [px]
    boxes: list[Tensor]  # (n, 4) float32, x0 y0 x1 y1 [px]
    labels: list[Tensor]  # (n,) int64
    masks: list[Tensor]  # (n, H, W) uint8, H and W those of the batch
    crowd: list[Tensor]  # (n,) bool: a region of many objects; neither trained on nor counted as a false positive
    truth: tuple[GroundTruth, ...] = ()  # of VAL images; stays on the CPU


Targets = ClassTargets | MaskTargets | PackedMaskTargets | InstanceTargets


@dataclass
class Batch:
    """Images and their targets. Bytes, not floats, are copied to the device: a quarter of the traffic."""

    pixels: Tensor  # (B, C, H, W) uint8, of packed images (L, C * p * p); float32 once they are normalised
    keys: list[SampleKey]  # of the images, in order
    shape: StepShape
    targets: Targets
    skipped: int = 0  # requested images that could not be read; in training others took their places
    rows: PackedRows | None = None  # of packed images

    @property
    def images(self) -> Tensor | PackedImages:
        """What a backbone takes."""
        from scaling.packing.packed_images import PackedImages

        return self.pixels if self.rows is None else PackedImages(self.pixels, self.rows, self.shape.patch_size)

    def __len__(self) -> int:
        return len(self.keys)

    def to(self, device: torch.device | str, non_blocking: bool | None = None) -> Batch:
        """On a device; non_blocking: None: as Lightning copies tensors, without waiting for a GPU."""
        import torch

        asynchronous = torch.device(device).type not in ("cpu", "mps") if non_blocking is None else non_blocking
        return self._map(lambda t: t.to(device, non_blocking=asynchronous))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory; called by DataLoader."""
        return self._map(lambda t: t.pin_memory())

    def select(self, indices: list[int], shape: StepShape) -> Batch:
        """Some images, of whole rows and in training, as a batch of another shape."""
        part = self._map(lambda t: t[indices], lambda values: [values[i] for i in indices])
        return replace(part, keys=[self.keys[i] for i in indices], shape=shape)

    def _map(
        self, change: Callable[[Tensor], Tensor], of_list: Callable[[list[Tensor]], list[Tensor]] | None = None
    ) -> Batch:
        """of_list: for values of each image that are tensors of their own; None: change for each."""

        def changed(value: object) -> object:
            if isinstance(value, list):
                return of_list(value) if of_list else [change(t) for t in value]
            return change(cast("Tensor", value)) if hasattr(value, "pin_memory") else value

        made_of: Callable[..., Targets] = type(self.targets)
        return replace(self, pixels=change(self.pixels), targets=made_of(*map(changed, self.targets)))


def normalise(image_BCHW: Tensor, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> Tensor:
    """uint8 pixels to float32 of about zero mean and unit variance, on their device. mean, std: of pixels in [0, 1] by
    channel, as the backbone expects them."""
    import torch

    mean_1C11, std_1C11 = (
        torch.tensor(list(t), device=image_BCHW.device).mul_(255).view(1, -1, 1, 1) for t in (mean, std)
    )
    return image_BCHW.float().sub_(mean_1C11).div_(std_1C11)
