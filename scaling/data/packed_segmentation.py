"""Packed images with one class per pixel: the label map is resized with the image in training, and has its own size in
evaluation. H W pixels, C = 3 channels; uint8."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from scaling.config.experiment import ExperimentConfig
from scaling.data.batch import PackedMaskTargets, Split
from scaling.data.generated.embedded_set import rendered
from scaling.data.packed_dataset import PackedImageSet
from scaling.data.transforms.segmentation import scale_image, scale_label
from scaling.packing.drawn_grids import evaluated_size, mean_pixels

Scene = tuple[Tensor, Tensor]  # an image (C, H, W) and its label map (H, W)


class SceneView:
    """Methods as in packed_dataset.View. mean_pixels: of a training image [px^2]; 0 in evaluation."""

    def __init__(self, split: Split, mean_pixels: float) -> None:
        self.split, self.mean_pixels = split, mean_pixels

    def size(self, item: Scene) -> tuple[int, int]:
        height, width = item[1].shape
        return height, width

    def resized(self, item: Scene, size: tuple[int, int], config: ExperimentConfig) -> Scene:
        image_CHW, label_HW = item
        return scale_image(image_CHW, size), scale_label(label_HW, size) if self.split is Split.TRAIN else label_HW

    def flipped(self, image_CHW: Tensor, label: Tensor) -> Scene:
        return image_CHW.flip(2), label.flip(1)

    def targets(self, labels: list[Tensor]) -> PackedMaskTargets:
        return PackedMaskTargets(labels, self.mean_pixels)


def packed_scenes(
    read: Callable[[int], Scene],
    sizes: list[tuple[int, int]],
    config: ExperimentConfig,
    split: Split,
    in_memory: bool = True,
    skipped: int = 0,
) -> PackedImageSet[Scene, Tensor]:
    """The images that read returns. sizes: their heights and widths [px]."""
    mean = mean_pixels(config, sizes) if split is Split.TRAIN else 0.0
    # Resizing takes milliseconds per image: in worker processes, even of images in memory.
    in_memory = in_memory and evaluated_size(config) is None
    return PackedImageSet(read, len(sizes), SceneView(split, mean), config, split, in_memory, skipped)


def generated(config: ExperimentConfig, part: str, indices: np.ndarray, split: Split) -> PackedImageSet[Scene, Tensor]:
    """Images of the embedded set, squares or rectangles."""
    drawn: dict[int, Scene] = {}
    for chunk, shapes in rendered(config, part, indices):
        images, labels = torch.from_numpy(shapes.image_BHWC), torch.from_numpy(shapes.mask_BHW.astype(np.uint8))
        drawn |= zip(chunk.tolist(), zip(images.permute(0, 3, 1, 2), labels, strict=True), strict=True)
    sizes = [(label_HW.shape[0], label_HW.shape[1]) for _, label_HW in (drawn[i] for i in range(len(drawn)))]
    return packed_scenes(drawn.__getitem__, sizes, config, split)
