"""Folders of images and of their labels, in ADE20K's own layout: images/NAME/… and annotations/NAME/….png.

A label has a class number a pixel. An image and its label have one name but for the ending, also in folders below.
H W pixels, C = 3 channels.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from scaling.data.batch import UNLABELLED
from scaling.data.files import SPLITS, check_end
from scaling.recipe import BadInput, Recipe

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MODES = ("1", "L", "P", "I", "I;16")  # of label files, as PIL calls them: one number a pixel


@dataclass(frozen=True)
class SceneFiles:
    """The images of one split ("train" or "test") and their labels. Reading is safe from threads and workers."""

    split: str
    pairs: tuple[tuple[Path, Path], ...]  # image, label
    classes: int
    unlabelled: int  # the value of pixels without a class; values above it count one less

    def __len__(self) -> int:
        return len(self.pairs)

    def size(self, i: int) -> tuple[int, int]:
        """Height and width of the i-th image [px], by its header."""
        path = self.pairs[i][0]
        with said_of(path), Image.open(path) as image:
            return image.height, image.width

    def load(self, i: int) -> tuple[Tensor, Tensor]:
        """The i-th image (3, H, W) and its label (H, W), uint8. Raises OSError for what cannot be read, BadInput for a
        label that does not fit."""
        path = self.pairs[i][0]
        label_HW = self._label(i)
        with opened(path) as image:
            self._check_size(i, image, label_HW)
            return pixels(image), torch.from_numpy(label_HW)

    def check(self, i: int) -> None:
        """As load, but of the image both ends are looked at and no pixel is decoded: cheaper."""
        label_HW = self._label(i)
        with opened(self.pairs[i][0]) as image:
            self._check_size(i, image, label_HW)
            image.verify()

    def _label(self, i: int) -> np.ndarray:
        path = self.pairs[i][1]
        with opened(path) as image:
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
            return SceneFiles(split, _pairs(images, labels, split), recipe.classes, recipe.unlabelled)
    raise BadInput(
        f"{root} has no {split} images with labels: folders images/NAME and annotations/NAME are expected, "
        f"NAME being {' or '.join(SPLITS[split])}"
    )


def _pairs(images: Path, labels: Path, split: str) -> tuple[tuple[Path, Path], ...]:
    image_of, label_of = _listed(images, IMAGES), _listed(labels, (".png",))
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
    return tuple((image_of[name], label_of[name]) for name in sorted(image_of))


def _listed(folder: Path, endings: tuple[str, ...]) -> dict[str, Path]:
    """Files with one of the endings by their names below the folder, without ending. Hidden files are none."""
    found: dict[str, Path] = {}
    for where, _, files in os.walk(folder, followlinks=True):
        for file in files:
            path = Path(where, file)
            if path.suffix.lower() not in endings or file.startswith("."):
                continue
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in found:
                raise BadInput(f"{found[name]} and {path} have one name, so it is not clear which a label means")
            found[name] = path
    return found


def pixels(image: Image.Image) -> Tensor:
    """(3, H, W) uint8."""
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def turned(image: Image.Image) -> str:
    """What to say more where an image has another size than is said elsewhere."""
    on_its_side = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    return "; its EXIF says that it lies on its side: save it upright" if on_its_side else ""


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The image in a file that has both its ends."""
    with said_of(path):
        data = path.read_bytes()
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
