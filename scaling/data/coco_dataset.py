"""Images with objects in COCO's own layout: annotations/instances_NAME.json, and the images in NAME/ or images/NAME/.

Everything that can be wrong with a file is found when it is read. h w sides of an image [px].
"""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from scaling.data.coco_annotations import Annotation, annotations, in_image, once, whole
from scaling.data.decoding import decode_rgb, digest_parts, naming_errors, orientation_hint, read_header
from scaling.data.file_index import Facts, digest, stamps
from scaling.data.image_folder import SPLITS, find_root
from scaling.data.instance_store import ObjectTable, tabled
from scaling.data.sampler import subset
from scaling.data.segmentation_folder import pixels
from scaling.errors import ConfigError
from scaling.recipe import Recipe


class Listed(NamedTuple):
    """One image as the file lists it, and its annotations."""

    image_id: int
    path: Path
    size: tuple[int, int]  # height and width [px]
    annotations: list[Annotation]


@dataclass(frozen=True)
class ImageFiles:
    """Images, and the size that each of them must have. Reading is safe from threads and workers."""

    split: str
    file: Path  # that says so
    paths: tuple[Path, ...]
    sizes: tuple[tuple[int, int], ...]
    folder: Path  # of the images
    about: bytes  # digest of the file: the objects and the sizes
    width = 0

    @property
    def key(self) -> str:
        """As in file_index.py."""
        return f"{self.folder} {self.split} {self.file.name}"

    @property
    def file_names(self) -> list[str]:
        return [os.path.relpath(path, self.folder) for path in self.paths]

    def stamps(self, indices: np.ndarray) -> np.ndarray:
        """An image's, and the size that it must have."""
        sizes_N2 = np.array([self.sizes[i] for i in indices.tolist()], np.int64).reshape(-1, 2)
        return np.concatenate([stamps([str(self.paths[i]) for i in indices.tolist()]), sizes_N2], axis=1)

    def load(self, i: int) -> Tensor:
        """The i-th image (3, h, w), uint8. Raises OSError for what cannot be read, ConfigError for another size."""
        with naming_errors(lambda: self.paths[i]):
            data = self.paths[i].read_bytes()
            image = decode_rgb(data)
        self._check_size(i, (image.height, image.width), data)
        return pixels(image)

    def examine(self, i: int) -> Facts:
        """As load, but most images are checked without decoding them: cheaper."""
        try:
            data = self.paths[i].read_bytes()
        except OSError as e:
            return Facts(b"", bad=f"{self.paths[i]}: {e}")
        try:
            with naming_errors(lambda: self.paths[i]):
                header = read_header(data)
        except OSError as e:
            return Facts(digest(data), bad=str(e))
        self._check_size(i, header.size, data)
        return Facts(digest(data, *digest_parts(header.note)), note=header.note)

    def _check_size(self, i: int, size: tuple[int, int], data: bytes) -> None:
        """Raise ConfigError for another size, height and width, than is listed."""
        if size != self.sizes[i]:
            (h, w), (height, width) = size, self.sizes[i]
            sizes = f"{w}x{h} px, {self.file} says {width}x{height} px"
            raise ConfigError(f"image {self.paths[i]} has {sizes}{orientation_hint(data)}")


@dataclass(frozen=True)
class CocoFile:
    """The images and objects of a split ("train" or "test") as its JSON has them. notes: see annotations."""

    split: str
    file: Path
    images: tuple[Listed, ...]
    categories: tuple[tuple[int, str], ...]  # id and name, by id; labels count them from 0
    notes: dict[str, float]
    folder: Path  # of the images
    about: bytes  # digest of the file
    left_out: int = 0  # images without an object

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Iterable[int]) -> "CocoFile":
        """Some of the images."""
        return replace(self, images=tuple(self.images[i] for i in indices))

    def with_objects(self) -> "CocoFile":
        """The images with at least one object that is not a crowd. Raises ConfigError if there are none."""
        kept = [i for i, image in enumerate(self.images) if not all(a.crowd for a in image.annotations)]
        if not kept:
            crowds = sum(len(image.annotations) for image in self.images)
            beside = f" (all {crowds} annotations are crowds)" if crowds else ""
            raise ConfigError(f"{self.file} has no object in any of its {len(self)} images{beside}")
        return replace(self.take(kept), left_out=len(self) - len(kept))

    def files(self) -> ImageFiles:
        """The images' files."""
        paths, sizes = tuple(i.path for i in self.images), tuple(i.size for i in self.images)
        return ImageFiles(self.split, self.file, paths, sizes, self.folder, self.about)

    def table(self) -> ObjectTable:
        """The objects, their masks as run lengths. Raises ConfigError for masks that are none."""
        return tabled(in_image(i.image_id, i.size, i.annotations, self.file) for i in self.images)


def read_coco(root: Path, split: str) -> CocoFile:
    """A split's annotations below root. Raises ConfigError for what is wrong with them, or where an image is
    missing."""
    file = _find(root, split)
    data, about = _parsed(file)
    categories = sorted(
        (whole(c, "id", f"{file}: category"), str(c.get("name") or c["id"])) for c in data["categories"]
    )
    once([number for number, _ in categories], "category", file)
    labels = {number: label for label, (number, _) in enumerate(categories)}
    listed = [_image(entry, number, file) for number, entry in enumerate(data["images"])]
    if not listed:
        raise ConfigError(f"{file} lists no images")
    once([image_id for image_id, _, _ in listed], "image", file)
    found, notes = annotations(data["annotations"], file, {i: size for i, _, size in listed}, labels)
    folder = _folder(root, file, [name for _, name, _ in listed])
    images = tuple(Listed(i, Path(_in(folder, name)), size, found[i]) for i, name, size in listed)
    there = [any(pair) for pair in stamps([str(image.path) for image in images]).tolist()]
    if missing := [image for image, ok in zip(images, there, strict=True) if not ok]:
        first = missing[0]
        raise ConfigError(
            f"{file} lists {len(images)} images, {len(missing)} of which are not there, the first {first.image_id}: "
            f"{first.path} is expected{_looked_in(root, file) if len(missing) == len(images) else ''}"
        )
    return CocoFile(split, file, images, tuple(categories), notes, folder, about)


def used(recipe: Recipe) -> tuple[CocoFile, CocoFile]:
    """The images and objects that a recipe trains on, and those that it is tested on. Raises ConfigError."""
    root = find_root(recipe.data_root)
    train, test = read_coco(root, "train"), read_coco(root, "test")
    agree(train, test, recipe.classes)
    learned = train.with_objects()
    test.with_objects()
    if recipe.empty_images == "drop":
        train = learned
    return train.take(subset(len(train), recipe.train_images, "train-images")), test.take(
        subset(len(test), recipe.test_images, "test-images")
    )


def _image(entry: dict[str, Any], number: int, file: Path) -> tuple[int, str, tuple[int, int]]:
    """Id, file name and height and width of an image."""
    where = f"{file}: image {entry.get('id', f'number {number}')}"
    if not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
        raise ConfigError(f"{where} has no file_name")
    size = whole(entry, "height", where, least=1), whole(entry, "width", where, least=1)
    return whole(entry, "id", where), entry["file_name"], size


def agree(train: CocoFile, test: CocoFile, classes: int) -> None:
    """Raise ConfigError unless both have the same categories, as many as the recipe has classes."""
    if train.categories != test.categories:
        ours, theirs = set(train.categories), set(test.categories)
        only = [
            f"only in {split}: {', '.join(f'{number} {name}' for number, name in sorted(rest)[:5])}"
            for split, rest in (("train", ours - theirs), ("test", theirs - ours))
            if rest
        ]
        raise ConfigError(f"{train.file} and {test.file} have different categories; {'; '.join(only)}")
    if len(train.categories) != classes:
        there = len(train.categories)
        raise ConfigError(f"{train.file} has {there} categories, the recipe {classes}; set --classes {there}")


def _find(root: Path, split: str) -> Path:
    """The annotations of a split: instances_NAME.json, also with a year or another ending after NAME."""
    files = sorted((root / "annotations").glob("instances_*.json"))
    for name in SPLITS[split]:
        fitting = [f for f in files if re.fullmatch(rf"{name}([^a-z].*)?", f.stem.removeprefix("instances_"))]
        if len(fitting) > 1:
            raise ConfigError(f"{fitting[0]} and {fitting[1].name} are both for {split}: move one of them away")
        if fitting:
            return fitting[0]
    raise ConfigError(
        f"{root} has no {split} annotations: annotations/instances_NAME.json is expected, NAME beginning with "
        f"{' or '.join(SPLITS[split])}"
    )


def _folders(root: Path, file: Path) -> tuple[Path, ...]:
    """Possible image folders: named like the file, or the root that file names are relative to."""
    split = file.stem.removeprefix("instances_")
    return (root / split, root / "images" / split, root, root / "images")


def _folder(root: Path, file: Path, names: list[str]) -> Path:
    """The image folder: the first of these that contains a listed file. Absolute paths do not tell."""
    some = [name for name in names[:9] if not os.path.isabs(name)]
    for folder in _folders(root, file):
        if any(os.path.isfile(_in(folder, name)) for name in some):  # also of names that no file can have
            return folder
    return next((folder for folder in _folders(root, file) if folder.is_dir()), root)


def _in(folder: Path, name: str) -> str:
    """An image's path. File names written on Windows have backslashes as separators."""
    path = os.path.join(folder, name)
    return os.path.join(folder, name.replace("\\", "/")) if "\\" in name and not os.path.isfile(path) else path


def _looked_in(root: Path, file: Path) -> str:
    split, *others = (str(folder) for folder in _folders(root, file))
    return f"; put the images into {split} (also looked in {', '.join(others)})"


def _parsed(file: Path) -> tuple[dict[str, list[dict[str, Any]]], bytes]:
    """What is in the file, and a digest of it."""
    try:
        text = file.read_bytes()
        data = json.loads(text)
    except (OSError, ValueError, RecursionError) as e:
        raise ConfigError(f"{file} is no JSON ({str(e) or type(e).__name__}); is it all there?") from e
    for key in ("images", "annotations", "categories"):
        part = data.get(key) if isinstance(data, dict) else None
        if not isinstance(part, list) or not all(isinstance(entry, dict) for entry in part):
            raise ConfigError(
                f"{file} has no list of {key}: COCO's lists images, annotations and categories are expected"
            )
    return data, digest(text)
