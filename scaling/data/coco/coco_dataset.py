"""The images and objects of one split in COCO's layout, as coco_json.py reads them. h w sides of an image [px]."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from scaling.data.coco.coco_annotations import Annotation, image_objects
from scaling.data.coco.instance_store import InstanceStore
from scaling.data.files.decoding import decode_rgb, image_tensor, naming_errors, orientation_hint, read_header
from scaling.data.files.decoding_notes import digest_parts
from scaling.data.files.file_facts import Facts, digest, stamps
from scaling.errors import ConfigError


class ImageEntry(NamedTuple):
    """One entry of the file's list of images."""

    image_id: int
    file_name: str
    size: tuple[int, int]  # height and width [px]


class Listed(NamedTuple):
    """One image as the file lists it, and its annotations."""

    image_id: int
    path: Path
    size: tuple[int, int]  # height and width [px]
    annotations: list[Annotation]


@dataclass(frozen=True)
class CocoFiles:
    """The images of a split ("train" or "test") and the objects in them. Methods as in file_facts.DataFiles; reading is
    safe from threads and workers."""

    split: str
    file: Path  # the JSON
    images: tuple[Listed, ...]
    categories: tuple[tuple[int, str], ...]  # id and name, by id; classes are numbered in this order
    notes: dict[str, float]  # what was corrected, and how often (coco_annotations.NOTES)
    folder: Path  # of the images
    about: bytes  # digest of the file: the objects, and the sizes of images
    left_out: int = 0  # images without an object
    width = 0

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Iterable[int]) -> "CocoFiles":
        """Some of the images."""
        return replace(self, images=tuple(self.images[i] for i in indices))

    def with_objects(self) -> "CocoFiles":
        """The images with at least one object that is not a crowd. Raises ConfigError if there are none."""
        kept = [i for i, image in enumerate(self.images) if not all(a.crowd for a in image.annotations)]
        if not kept:
            crowds = sum(len(image.annotations) for image in self.images)
            beside = f" (all {crowds} annotations are crowds)" if crowds else ""
            raise ConfigError(f"{self.file} has no object in any of its {len(self)} images{beside}")
        return replace(self.take(kept), left_out=len(self) - len(kept))

    def instances(self) -> InstanceStore:
        """The objects, their masks as run lengths. Raises ConfigError for invalid masks."""
        return InstanceStore.build(image_objects(i.image_id, i.size, i.annotations, self.file) for i in self.images)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of the images [px]."""
        return [image.size for image in self.images]

    @property
    def key(self) -> str:
        return f"{self.folder} {self.split} {self.file.name}"

    @cached_property
    def file_names(self) -> list[str]:
        return [os.path.relpath(image.path, self.folder) for image in self.images]

    def stamps(self, indices: np.ndarray) -> np.ndarray:
        """An image's, and the size that it must have."""
        images = [self.images[i] for i in indices.tolist()]
        sizes_N2 = np.array([image.size for image in images], np.int64).reshape(-1, 2)
        return np.concatenate([stamps([str(image.path) for image in images]), sizes_N2], axis=1)

    def load(self, i: int) -> Tensor:
        """The i-th image (3, h, w), uint8. Raises OSError if it cannot be read, ConfigError for another size."""
        path = self.images[i].path
        with naming_errors(lambda: path):
            data = path.read_bytes()
            image = decode_rgb(data)
        self._check_size(i, (image.height, image.width), data)
        return image_tensor(image)

    def examine(self, i: int) -> Facts:
        """The same checks as load, but most images are not decoded, which is faster."""
        path = self.images[i].path
        try:
            data = path.read_bytes()
        except OSError as e:
            return Facts(b"", bad=f"{path}: {e}")
        try:
            with naming_errors(lambda: path):
                header = read_header(data)
        except OSError as e:
            return Facts(digest(data), bad=str(e))
        self._check_size(i, header.size, data)
        return Facts(digest(data, *digest_parts(header.note)), note=header.note)

    def _check_size(self, i: int, size: tuple[int, int], data: bytes) -> None:
        """Raise ConfigError for another size, height and width, than is listed."""
        if size != self.images[i].size:
            (h, w), (height, width) = size, self.images[i].size
            sizes = f"{w}x{h} px, {self.file} lists {width}x{height} px"
            raise ConfigError(f"image {self.images[i].path} has {sizes}{orientation_hint(data)}")
