"""Folders of images and label maps in ADE20K's layout: images/NAME/… and annotations/NAME/….png.

A label map has one class index per pixel. An image and its label map have the same name except for the ending, also in
subfolders. H W pixels, C = 3 channels. torch is imported where tensors are made: names and counts are known without it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from scaling.config.experiment import ExperimentConfig
from scaling.data.batch import IGNORE_INDEX
from scaling.data.files.data_root import SPLITS, find_root
from scaling.data.files.decoding import (
    ColourLabel,
    Header,
    decode_label,
    decode_rgb,
    image_tensor,
    naming_errors,
    orientation_hint,
    read_header,
)
from scaling.data.files.decoding_notes import Note, digest_parts
from scaling.data.files.file_facts import DataFiles, Facts, Selected, digest, stamps
from scaling.data.files.file_listing import ENDINGS, LOOKED_FOR, files_below
from scaling.data.files.listing_cache import listing
from scaling.data.sampler import subset
from scaling.errors import ConfigError, first_of

if TYPE_CHECKING:
    from torch import Tensor


class LabelMaps(DataFiles, Protocol):
    """The images of one split and their label maps. lines: messages for the user."""

    @property
    def lines(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def take(self, indices: Sequence[int]) -> LabelMaps:
        """Some of the images."""

    def load(self, i: int) -> tuple[Tensor, Tensor]:
        """The i-th image (3, H, W) and its label map (H, W), uint8. Raises OSError for unreadable files, ConfigError
        for an invalid label map."""


@dataclass(frozen=True)
class SegmentationFiles:
    """The images of one split ("train" or "test") and their label maps. Methods as in LabelMaps; reading is safe from
    threads and workers."""

    split: str
    pairs: tuple[tuple[Path, Path], ...]  # image, label
    classes: int
    ignore_index: int  # ignore index; values above it are shifted down by one
    folder: Path = Path()  # of the images
    lines: tuple[str, ...] = ()  # messages for the user
    about, width = b"", 32  # one bit per value of a byte

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def key(self) -> str:
        """The classes, which decide which label values are valid."""
        return f"{self.folder} {self.split} {self.classes} {self.ignore_index}"

    @property
    def file_names(self) -> list[str]:
        return [os.path.relpath(image, self.folder) for image, _ in self.pairs]

    def stamps(self, indices: np.ndarray) -> np.ndarray:
        """The stamps of image and label."""
        return stamps([str(path) for i in indices.tolist() for path in self.pairs[i]]).reshape(-1, 4)

    def take(self, indices: Sequence[int]) -> SegmentationFiles:
        return replace(self, pairs=tuple(self.pairs[i] for i in indices))

    def load(self, i: int) -> tuple[Tensor, Tensor]:
        import torch

        path, label = self.pairs[i]
        with naming_errors(lambda: label):
            label_HW = self._label(i, label.read_bytes())
        with naming_errors(lambda: path):
            data = path.read_bytes()
            image = decode_rgb(data)
        self._check_size(i, (image.height, image.width), label_HW, data)
        return image_tensor(image), torch.from_numpy(label_HW)

    def examine(self, i: int) -> Facts:
        """The same checks as load, but most images are not decoded, which is faster."""
        path, label = self.pairs[i]
        try:
            image_bytes, label_bytes = path.read_bytes(), label.read_bytes()
        except OSError as e:
            return Facts(b"", bad=f"{e.filename}: {e}")
        header = Header((0, 0), Note(0))
        try:
            with naming_errors(lambda: label):
                label_HW = self._label(i, label_bytes)
            with naming_errors(lambda: path):
                header = read_header(image_bytes)
        except OSError as e:
            return Facts(digest(image_bytes, label_bytes), header.size, str(e))
        self._check_size(i, header.size, label_HW, image_bytes)
        has = np.array(Image.fromarray(label_HW).histogram()) > 0
        content = digest(image_bytes, label_bytes, *digest_parts(header.note))
        return Facts(content, header.size, note=header.note, present=np.packbits(has).tobytes())

    def label(self, i: int) -> np.ndarray:
        """Only the label map (H, W) of the i-th image. Raises as load."""
        path = self.pairs[i][1]
        with naming_errors(lambda: path):
            return self._label(i, path.read_bytes())

    def _label(self, i: int, data: bytes) -> np.ndarray:
        path = self.pairs[i][1]
        try:
            value_HW = decode_label(data)
        except ColourLabel as e:
            raise ConfigError(
                f"label {path} has colours ({e}); one class index per pixel is expected, in a PNG that is grey or "
                "has a palette: convert colours to class indices first"
            ) from e
        return as_classes(value_HW, self.classes, self.ignore_index, path)

    def _check_size(self, i: int, size: tuple[int, int], label_HW: np.ndarray, data: bytes) -> None:
        if size != label_HW.shape:
            (h, w), (height, width), (path, label) = size, label_HW.shape, self.pairs[i]
            sizes = f"{w}x{h} px, its label {label} {width}x{height} px"
            raise ConfigError(f"image {path} has {sizes}{orientation_hint(data)}")


def as_classes(value_HW: np.ndarray, classes: int, ignore_index: int, path: Path) -> np.ndarray:
    """The values of a label map as classes 0 … classes - 1 and IGNORE_INDEX, uint8. 255 is ignored too where it is not
    a class, as in mmsegmentation. Raises ConfigError for other values."""
    if value_HW.dtype == bool:
        value_HW = value_HW.astype(np.uint8)
    highest = classes if ignore_index <= classes else classes - 1  # of the values that mean a class, or nothing
    nothing = [ignore_index, *([IGNORE_INDEX] if highest < IGNORE_INDEX != ignore_index else [])]
    without = value_HW == ignore_index
    if IGNORE_INDEX in nothing:
        without |= value_HW == IGNORE_INDEX
    strange = ((value_HW > highest) | (value_HW < 0)) & ~without
    if strange.any():
        values = np.unique(value_HW[strange])
        some = first_of(values, most=8)
        ranges = [(0, min(ignore_index, classes) - 1), (ignore_index + 1, highest)]
        known = " and ".join(f"{low} to {high}" if low < high else f"{low}" for low, high in ranges if low <= high)
        none = f"{' and '.join(map(str, nothing))} {'are' if len(nothing) > 1 else 'is'} no class"
        raise ConfigError(
            f"label {path} has the value {some}; {classes} classes are {known}, {none}: set --num-classes or "
            "--ignore-index"
        )
    class_HW = (value_HW - (value_HW > ignore_index)).astype(np.uint8)
    class_HW[without] = IGNORE_INDEX
    return class_HW


def find_split(root: Path, split: str, config: ExperimentConfig) -> SegmentationFiles:
    """The images and label maps of a split below root. Raises ConfigError where one lacks the other."""
    there = [name for name in SPLITS[split] if (root / "images" / name).is_dir()]
    labelled = [name for name in there if (root / "annotations" / name).is_dir()]
    for name in labelled[:1]:
        images = root / "images" / name
        pairs, lines = _pairs(images, root / "annotations" / name, split)
        if others := [other for other in there if other != name]:
            lines += (f"{images} is used for the {split} images; {', '.join(others)} beside it is not used",)
        return SegmentationFiles(split, pairs, config.data.num_classes, config.segmentation.ignore_index, images, lines)
    raise ConfigError(
        f"{root} has no {split} images with labels: folders images/NAME and annotations/NAME are expected, "
        f"NAME being {' or '.join(SPLITS[split])}"
    )


def used(config: ExperimentConfig) -> tuple[Selected[SegmentationFiles], Selected[SegmentationFiles]]:
    """The training and the test images of a recipe, and which of them it uses. Raises ConfigError."""
    root = find_root(config.data.data_root or "")
    train, test = find_split(root, "train", config), find_split(root, "test", config)
    of_train = subset(len(train), config.data.num_train or 0, "num-train")
    return Selected(train, of_train), Selected(test, subset(len(test), config.data.num_val or 0, "num-val"))


@listing
def _pairs(images: Path, labels: Path, split: str) -> tuple[tuple[tuple[Path, Path], ...], tuple[str, ...]]:
    """The pairs, and messages about the folders."""
    (image_of, lines), (label_of, more) = _listed(images, ENDINGS), _listed(labels, (".png",))
    if not image_of:
        raise ConfigError(f"{images} has no images; looked for {LOOKED_FOR}")
    if bare := sorted(image_of.keys() - label_of.keys()):
        raise ConfigError(
            f"{len(bare)} of {len(image_of)} {split} images without a label, the first {image_of[bare[0]]}: "
            f"{labels / bare[0]}.png is expected"
        )
    if bare := sorted(label_of.keys() - image_of.keys()):
        raise ConfigError(
            f"{len(bare)} of {len(label_of)} {split} labels without an image, the first {label_of[bare[0]]}: "
            f"{images / bare[0]}.jpg is expected, or another ending ({LOOKED_FOR})"
        )
    return tuple((image_of[name], label_of[name]) for name in sorted(image_of)), (*lines, *more)


def _listed(folder: Path, endings: tuple[str, ...]) -> tuple[dict[str, Path], list[str]]:
    """Files with one of the endings by their names below the folder, without ending, and messages."""
    found: dict[str, Path] = {}
    names, lines = files_below(folder, endings)
    for file in names:
        path = folder / file
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise ConfigError(f"{found[name]} and {path} have the same name, so the image of a label map is ambiguous")
        found[name] = path
    return found, lines
