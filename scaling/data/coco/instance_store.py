"""The objects of many images in a few arrays, and their masks as COCO run lengths.

A mask takes some hundred bytes until a view of it is made; a million objects in columns are small, and worker processes
share them. I images, N objects, n of them in an image; h w sides of an image [px]; boxes are x0 y0 x1 y1 [px]. The
format is that of COCO's common/maskApi.c: pixels column by column, background and object in alternation.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch

from scaling.data.batch import GroundTruth
from scaling.errors import ConfigError


class ImageObjects(NamedTuple):
    """The objects of one image."""

    image_id: int
    size: tuple[int, int]  # height and width [px]
    box_n4: np.ndarray  # float32
    label_n: np.ndarray  # int64, from 0
    crowd_n: np.ndarray  # bool
    area_n: np.ndarray  # float32 [px^2]
    counts: Sequence[bytes]  # n masks


@dataclass(frozen=True)
class InstanceStore:
    """The same as ImageObjects, for I images: objects first_I1[i] to first_I1[i + 1] are in image i, and bytes at_N1[k]
    to at_N1[k + 1] of counts are the mask of object k."""

    image_id_I: np.ndarray
    size_I2: np.ndarray
    first_I1: np.ndarray
    box_N4: np.ndarray
    label_N: np.ndarray
    crowd_N: np.ndarray
    area_N: np.ndarray
    at_N1: np.ndarray
    counts: bytes

    @classmethod
    def build(cls, images: Iterable[ImageObjects]) -> "InstanceStore":
        """The store of these images, at least one."""
        listed = list(images)
        counts = [text for image in listed for text in image.counts]
        return cls(
            np.array([image.image_id for image in listed], np.int64),
            np.array([image.size for image in listed], np.int64),
            np.cumsum([0, *(len(image.counts) for image in listed)], dtype=np.int64),
            np.concatenate([image.box_n4 for image in listed]).astype(np.float32),
            np.concatenate([image.label_n for image in listed]).astype(np.int64),
            np.concatenate([image.crowd_n for image in listed]).astype(bool),
            np.concatenate([image.area_n for image in listed]).astype(np.float32),
            np.cumsum([0, *map(len, counts)], dtype=np.int64),
            b"".join(counts),
        )

    def __len__(self) -> int:
        return len(self.image_id_I)

    def __getitem__(self, i: int) -> ImageObjects:
        a, b = self.first_I1[i : i + 2].tolist()
        at = self.at_N1[a : b + 1].tolist()
        height, width = self.size_I2[i].tolist()
        return ImageObjects(
            int(self.image_id_I[i]),
            (height, width),
            self.box_N4[a:b],
            self.label_N[a:b],
            self.crowd_N[a:b],
            self.area_N[a:b],
            [self.counts[start:stop] for start, stop in pairwise(at)],
        )

    def truth(self, i: int) -> GroundTruth:
        """The objects of image i. It shares no memory with the store."""
        found = self[i]
        return GroundTruth(
            found.image_id,
            found.size,
            torch.tensor(found.box_n4),
            torch.tensor(found.label_n),
            torch.tensor(found.crowd_n),
            torch.tensor(found.area_n),
            [{"size": list(found.size), "counts": counts} for counts in found.counts],
        )


def coco_masks() -> ModuleType:
    """pycocotools.mask. Raises ConfigError where it is not installed."""
    try:
        from pycocotools import mask
    except ImportError as e:
        raise ConfigError(
            f"detection needs pycocotools ({e}): make setup EXTRAS=dev,dense, or pip install '.[dense]'"
        ) from e
    return mask


def run_ends(counts: bytes) -> np.ndarray:
    """Ends of the runs of background and object in alternation [px]. Raises ValueError for invalid run lengths.

    Numbers are written in groups of five bits, lowest first, with a sixth bit that is set where more follow; from the
    fourth number on, the difference to the previous run of the same kind is written.
    """
    bits = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    last = np.flatnonzero((bits & 32) == 0)  # of each number
    if not len(bits) or bits.min() < 0 or bits.max() > 63 or bits[-1] & 32:
        raise ValueError("invalid run lengths")
    first = np.concatenate([[0], last[:-1] + 1])
    digits = last - first + 1
    if digits.max() > 12:
        raise ValueError("invalid run lengths")
    place = np.arange(len(bits)) - np.repeat(first, digits)
    run = np.add.reduceat((bits & 31) << 5 * place, first)
    run -= (bits[last] >> 4 & 1) << 5 * digits  # the sign
    for kind in (run[1::2], run[2::2]):
        np.cumsum(kind, out=kind)
    if run.min() < 0:
        raise ValueError("negative run lengths")
    return np.cumsum(run)


def strip(ends: np.ndarray, height: int) -> tuple[int, np.ndarray]:
    """The first column with a pixel of the object, and (columns, height) uint8, 1 in the object, from there to the
    last one. For an object 100 px wide in an image of 640 x 480 px it takes, with run_ends, 0.06 ms; pycocotools'
    decode, which fills the whole image, 0.2 ms."""
    pairs = len(ends) // 2
    starts, stops = ends[0 : 2 * pairs : 2], ends[1 : 2 * pairs : 2]
    real = stops > starts  # a run may be empty
    if not real.any():
        return 0, np.zeros((0, height), np.uint8)
    starts, stops = starts[real], stops[real]
    left, right = int(starts[0]) // height, (int(stops[-1]) - 1) // height + 1
    pixels = np.zeros((right - left) * height, np.uint8)
    for start, stop in zip((starts - left * height).tolist(), (stops - left * height).tolist(), strict=True):
        pixels[start:stop] = 1
    return left, pixels.reshape(-1, height)
