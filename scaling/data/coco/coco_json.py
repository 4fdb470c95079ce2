"""Reading COCO's layout: annotations/instances_NAME.json, and the images in NAME/ or images/NAME/.

Everything that is wrong with the JSON is found here, before an image is read. h w sides of an image [px].
"""

import json
import os
import re
from pathlib import Path

import numpy as np

from scaling.config.experiment import ExperimentConfig
from scaling.data.class_names import only_in_one
from scaling.data.coco.coco_annotations import Entry, annotations, once, whole
from scaling.data.coco.coco_dataset import CocoFiles, ImageEntry, Listed
from scaling.data.files.data_root import SPLITS, find_root
from scaling.data.files.file_facts import Selected, digest, stamps
from scaling.data.files.listing_cache import listing
from scaling.data.sampler import subset
from scaling.errors import ConfigError


@listing
def read_coco(root: Path, split: str) -> CocoFiles:
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
    once([one.image_id for one in listed], "image", file)
    found, notes = annotations(data["annotations"], file, {one.image_id: one.size for one in listed}, labels)
    folder = _folder(root, file, [one.file_name for one in listed])
    images = tuple(
        Listed(one.image_id, Path(_in(folder, one.file_name)), one.size, found[one.image_id]) for one in listed
    )
    there = [any(pair) for pair in stamps([str(image.path) for image in images]).tolist()]
    if missing := [image for image, ok in zip(images, there, strict=True) if not ok]:
        first = missing[0]
        raise ConfigError(
            f"{file} lists {len(images)} images, {len(missing)} of which are not there, the first {first.image_id}: "
            f"{first.path} is expected{_looked_in(root, file) if len(missing) == len(images) else ''}"
        )
    return CocoFiles(split, file, images, tuple(categories), notes, folder, about)


def used(config: ExperimentConfig) -> tuple[Selected[CocoFiles], Selected[CocoFiles]]:
    """The training and the test images of a recipe, and which of them it uses: all of those that are returned. Raises
    ConfigError."""
    root = find_root(config.data.data_root or "")
    train, test = read_coco(root, "train"), read_coco(root, "test")
    check_categories(train, test, config.data.num_classes)
    learned = train.with_objects()
    test.with_objects()
    if config.detection.filter_empty_gt:
        train = learned
    train = train.take(subset(len(train), config.data.num_train or 0, "num-train"))
    test = test.take(subset(len(test), config.data.num_val or 0, "num-val"))
    return Selected(train, np.arange(len(train))), Selected(test, np.arange(len(test)))


def _image(entry: Entry, number: int, file: Path) -> ImageEntry:
    """An entry, checked. Raises ConfigError for what is missing or wrong in it."""
    where = f"{file}: image {entry.get('id', f'number {number}')}"
    name = entry.get("file_name")
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{where} has no file_name")
    size = whole(entry, "height", where, least=1), whole(entry, "width", where, least=1)
    return ImageEntry(whole(entry, "id", where), name, size)


def check_categories(train: CocoFiles, test: CocoFiles, classes: int) -> None:
    """Raise ConfigError unless both have the same categories, as many as the recipe has classes."""
    if train.categories != test.categories:
        ours, theirs = ([f"{number} {name}" for number, name in coco.categories] for coco in (train, test))
        raise ConfigError(f"{train.file} and {test.file} have different categories; {only_in_one(ours, theirs)}")
    if len(train.categories) != classes:
        n = len(train.categories)
        raise ConfigError(f"{train.file} has {n} categories, the recipe {classes} classes; set --num-classes {n}")


def _find(root: Path, split: str) -> Path:
    """The annotations of a split: instances_NAME.json, also with a year or another ending after NAME."""
    files = sorted((root / "annotations").glob("instances_*.json"))
    for name in SPLITS[split]:
        fitting = [f for f in files if re.fullmatch(rf"{name}([^a-z].*)?", f.stem.removeprefix("instances_"))]
        if len(fitting) > 1:
            raise ConfigError(f"{fitting[0]} and {fitting[1].name} are both for {split}: remove one of them")
        if fitting:
            return fitting[0]
    raise ConfigError(
        f"{root} has no {split} annotations: annotations/instances_NAME.json is expected, NAME beginning with "
        f"{' or '.join(SPLITS[split])}"
    )


def _folders(root: Path, file: Path) -> list[Path]:
    """Possible image folders: named like the file, or the root that file names are relative to."""
    split = file.stem.removeprefix("instances_")
    return [root / split, root / "images" / split, root, root / "images"]


def _folder(root: Path, file: Path, names: list[str]) -> Path:
    """The image folder: the first of these that contains a listed file. Absolute paths are not considered."""
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


def _parsed(file: Path) -> tuple[dict[str, list[Entry]], bytes]:
    """The content of the file, and its digest."""
    try:
        text = file.read_bytes()
        data = json.loads(text)
    except (OSError, ValueError, RecursionError) as e:
        raise ConfigError(f"{file} is not valid JSON ({str(e) or type(e).__name__}): it may be incomplete") from e
    for key in ("images", "annotations", "categories"):
        part = data.get(key) if isinstance(data, dict) else None
        if not isinstance(part, list) or not all(isinstance(entry, dict) for entry in part):
            raise ConfigError(
                f"{file} has no list of {key}: COCO's lists images, annotations and categories are expected"
            )
    return data, digest(text)
