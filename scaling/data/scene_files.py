"""Folders of images and of their labels, in ADE20K's own layout: images/NAME/… and annotations/NAME/….png.

A label has a class number a pixel. An image and its label have one name but for the ending, also in folders below.
H W pixels, C = 3 channels. torch is imported where tensors are made: names and counts are known without it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from scaling.data.batch import UNLABELLED
from scaling.data.class_folders import files_below
from scaling.data.file_index import Facts, digest, stamps
from scaling.data.files import SPLITS, check_end, find_root
from scaling.data.order import subset
from scaling.recipe import BadInput, Recipe

if TYPE_CHECKING:
    from torch import Tensor

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MODES = ("1", "L", "P", "I", "I;16")  # of label files, as PIL calls them: one number a pixel


@dataclass(frozen=True)
class SceneFiles:
    """The images of one split ("train" or "test") and their labels. Reading is safe from threads and workers."""

    split: str
    pairs: tuple[tuple[Path, Path], ...]  # image, label
    classes: int
    unlabelled: int  # the value of pixels without a class; values above it count one less
    folder: Path = Path()  # of the images
    lines: tuple[str, ...] = ()  # what there is to say of them
    about = b""

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def key(self) -> str:
        """As in file_index.py: what is right in a label depends on the classes."""
        return f"{self.folder} {self.split} {self.classes} {self.unlabelled}"

    @property
    def file_names(self) -> list[str]:
        return [os.path.relpath(image, self.folder) for image, _ in self.pairs]

    def stamps(self, indices: np.ndarray) -> np.ndarray:
        """Those of image and label."""
        return stamps([str(path) for i in indices.tolist() for path in self.pairs[i]]).reshape(-1, 4)

    def load(self, i: int) -> tuple[Tensor, Tensor]:
        """The i-th image (3, H, W) and its label (H, W), uint8. Raises OSError for what cannot be read, BadInput for a
        label that does not fit."""
        import torch

        path = self.pairs[i][0]
        label_HW = self._label(i)
        with opened(path) as image:
            self._check_size(i, image, label_HW)
            return pixels(image), torch.from_numpy(label_HW)

    def examine(self, i: int) -> Facts:
        """As load, but of the image both ends are looked at and no pixel is decoded: cheaper."""
        path, label = self.pairs[i]
        try:
            image_bytes, label_bytes = path.read_bytes(), label.read_bytes()
        except OSError as e:
            return Facts(b"", bad=f"{e.filename}: {e}")
        content, size = digest(image_bytes, label_bytes), (0, 0)
        try:
            label_HW = self._label(i, label_bytes)
            with opened(path, image_bytes) as image:
                size = image.height, image.width
                self._check_size(i, image, label_HW)
                image.verify()
        except OSError as e:
            return Facts(content, size, str(e))
        return Facts(content, size)

    def label(self, i: int) -> np.ndarray:
        """The label (H, W) of the i-th image alone. Raises as load."""
        return self._label(i)

    def _label(self, i: int, data: bytes | None = None) -> np.ndarray:
        path = self.pairs[i][1]
        with opened(path, data) as image:
            if image.mode not in MODES:
                raise BadInput(
                    f"label {path} has colours ({image.mode}); a class number a pixel is expected, in a PNG that is "
                    "grey or has a palette: convert colours to numbers first"
                )
            value_HW = np.asarray(image)
        return as_classes(value_HW, self.classes, self.unlabelled, path)

    def _check_size(self, i: int, image: Image.Image, label_HW: np.ndarray) -> None:
        height, width = label_HW.shape
        if image.size == (width, height):
            return
        path, label = self.pairs[i]
        sizes = f"{image.width}x{image.height} px, its label {label} {width}x{height} px"
        raise BadInput(f"image {path} has {sizes}{turned(image)}")


def as_classes(value_HW: np.ndarray, classes: int, unlabelled: int, path: Path) -> np.ndarray:
    """A label file's values as classes 0 … classes - 1 and UNLABELLED, uint8. Raises BadInput for other values."""
    if value_HW.dtype == bool:
        value_HW = value_HW.astype(np.uint8)
    highest = classes if unlabelled <= classes else classes - 1  # of the values that mean a class, or nothing
    strange = ((value_HW > highest) | (value_HW < 0)) & (value_HW != unlabelled)
    if strange.any():
        values = np.unique(value_HW[strange])
        some = ", ".join(map(str, values[:8])) + (", …" if len(values) > 8 else "")
        ranges = [(0, min(unlabelled, classes) - 1), (unlabelled + 1, highest)]
        known = " and ".join(f"{low} to {high}" if low < high else f"{low}" for low, high in ranges if low <= high)
        raise BadInput(
            f"label {path} has the value {some}; {classes} classes are {known}, {unlabelled} is no class: "
            "set --classes or --unlabelled"
        )
    without = value_HW == unlabelled
    class_HW = (value_HW - (value_HW > unlabelled)).astype(np.uint8)
    class_HW[without] = UNLABELLED
    return class_HW


def find_scenes(root: Path, split: str, recipe: Recipe) -> SceneFiles:
    """The images and labels of a split below root. Raises BadInput unless each has the other."""
    for name in SPLITS[split]:
        images, labels = root / "images" / name, root / "annotations" / name
        if images.is_dir() and labels.is_dir():
            pairs, lines = _pairs(images, labels, split)
            return SceneFiles(split, pairs, recipe.classes, recipe.unlabelled, images, lines)
    raise BadInput(
        f"{root} has no {split} images with labels: folders images/NAME and annotations/NAME are expected, "
        f"NAME being {' or '.join(SPLITS[split])}"
    )


def used(recipe: Recipe) -> tuple[tuple[SceneFiles, np.ndarray], tuple[SceneFiles, np.ndarray]]:
    """The training and the test images of a recipe, and which of them it takes. Raises BadInput."""
    root = find_root(recipe.data_root)
    train, test = find_scenes(root, "train", recipe), find_scenes(root, "test", recipe)
    return (train, subset(len(train), recipe.train_images, "train-images")), (
        test,
        subset(len(test), recipe.test_images, "test-images"),
    )


def _pairs(images: Path, labels: Path, split: str) -> tuple[tuple[tuple[Path, Path], ...], tuple[str, ...]]:
    """The pairs, and what there is to say of the folders."""
    (image_of, lines), (label_of, more) = _listed(images, IMAGES), _listed(labels, (".png",))
    if not image_of:
        raise BadInput(f"{images} has no images; looked for {', '.join(IMAGES)}")
    if bare := sorted(image_of.keys() - label_of.keys()):
        raise BadInput(
            f"{len(bare)} of {len(image_of)} {split} images without a label, the first {image_of[bare[0]]}: "
            f"{labels / bare[0]}.png is expected"
        )
    if bare := sorted(label_of.keys() - image_of.keys()):
        raise BadInput(
            f"{len(bare)} of {len(label_of)} {split} labels without an image, the first {label_of[bare[0]]}: "
            f"{images / bare[0]}{IMAGES[0]} is expected (or {', '.join(IMAGES[1:])})"
        )
    return tuple((image_of[name], label_of[name]) for name in sorted(image_of)), (*lines, *more)


def _listed(folder: Path, endings: tuple[str, ...]) -> tuple[dict[str, Path], list[str]]:
    """Files with one of the endings by their names below the folder, without ending, and what there is to say. Hidden
    files are none."""
    found: dict[str, Path] = {}
    names, lines = files_below(folder, endings)
    for file in names:
        path = folder / file
        if path.name.startswith("."):
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise BadInput(f"{found[name]} and {path} have one name, so it is not clear which a label means")
        found[name] = path
    return found, lines


def pixels(image: Image.Image) -> Tensor:
    """(3, H, W) uint8."""
    import torch

    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def turned(image: Image.Image) -> str:
    """What to say more where an image has another size than is said elsewhere."""
    on_its_side = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    return "; its EXIF says that it lies on its side: save it upright" if on_its_side else ""


@contextmanager
def opened(path: Path, data: bytes | None = None) -> Iterator[Image.Image]:
    """The image in a file that has both its ends. data: what is in it, where that is read already."""
    with said_of(path):
        data = path.read_bytes() if data is None else data
        with Image.open(io.BytesIO(data)) as image:
            check_end(data, image.format)
            yield image


@contextmanager
def said_of(path: Path) -> Iterator[None]:
    """What PIL raises on bad bytes becomes an OSError that names the file."""
    try:
        yield
    except BadInput:
        raise
    except Exception as e:  # as many kinds of it as there are formats and bytes
        reason = "not an image" if isinstance(e, UnidentifiedImageError) else str(e) or type(e).__name__
        raise OSError(f"{path}: {reason}") from e
