"""Packed images with one class each: generated ones, or files of any format and size."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scaling.config.experiment import ExperimentConfig
from scaling.data.batch import ClassTargets, Split
from scaling.data.dataset import fits_in_memory
from scaling.data.files.image_folder import Files
from scaling.data.files.parallel_reading import read_all, without_bad
from scaling.data.generated.embedded_set import rendered
from scaling.data.open_sets import Examined
from scaling.data.packed_dataset import PackedImageSet
from scaling.data.transforms.classification import PILS
from scaling.preprocessing import preprocessing_of

Labelled = tuple[Image.Image, int]


class ClassView:
    """Methods as in packed_dataset.View."""

    def size(self, item: Labelled) -> tuple[int, int]:
        return item[0].height, item[0].width

    def resized(self, item: Labelled, size: tuple[int, int], config: ExperimentConfig) -> tuple[Tensor, int]:
        image, label = item
        if image.size != size[::-1]:
            image = image.resize(size[::-1], PILS[preprocessing_of(config).interpolation])
        return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy()), label

    def flipped(self, image_CHW: Tensor, label: int) -> tuple[Tensor, int]:
        return image_CHW.flip(2), label

    def targets(self, labels: list[int]) -> ClassTargets:
        return ClassTargets(torch.tensor(labels, dtype=torch.int64))


def generated(config: ExperimentConfig, part: str, indices: np.ndarray, split: Split) -> PackedImageSet[Labelled, int]:
    """Images of the embedded set, squares or rectangles."""
    drawn: dict[int, Labelled] = {}
    for chunk, shapes in rendered(config, part, indices):
        for i, image_HWC, label in zip(chunk.tolist(), shapes.image_BHWC, shapes.label_B.tolist(), strict=True):
            drawn[i] = Image.fromarray(image_HWC), label
    return PackedImageSet(drawn.__getitem__, len(indices), ClassView(), config, split)


def read_packed(part: Examined[Files], config: ExperimentConfig, split: Split) -> PackedImageSet[Labelled, int]:
    """The images of files, decoded at their own sizes where they fit in memory."""
    files, indices, seen = part.files, part.indices, part.seen
    fits = bool(seen.size_N2.all()) and fits_in_memory(3 * int(seen.size_N2.prod(1).sum()))
    found: Sequence[Labelled | OSError | None] = read_all(files.load, indices, seen) if fits else seen.errors()
    good = without_bad(list(zip(indices.tolist(), found, strict=True)), config.data.on_bad_image, files.split)
    images = [image for _, image in good if image is not None]
    read = images.__getitem__ if fits else lambda i: files.load(good[i][0])
    skipped = len(indices) - len(good)
    return PackedImageSet(read, len(good), ClassView(), config, split, in_memory=fits, skipped=skipped)
