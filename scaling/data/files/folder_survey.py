"""Survey of a user's data folder, before there is a recipe for it: numbers of classes and of training images. No
torch, and no file is decoded but label maps whose classes are not listed.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from scaling.config.data import DATASET_PREFIXES
from scaling.config.edit import make_config
from scaling.data.batch import IGNORE_INDEX
from scaling.data.files import image_folder, segmentation_folder
from scaling.data.files.class_list_file import names_beside
from scaling.data.files.data_root import find_root
from scaling.data.files.parallel_reading import in_threads
from scaling.errors import ConfigError

LAYOUTS = {  # what a folder holds, by task
    "classify": "train/CLASS/ and test/CLASS/",
    "segment": "images/train/, annotations/train/, images/test/ and annotations/test/",
    "detect": "annotations/instances_train.json, annotations/instances_test.json, and the images in train/ and test/",
}


class Found(NamedTuple):
    """Numbers of the training images of a folder."""

    classes: int
    train_images: int


@lru_cache(maxsize=16)
def survey(task: str, data: str, data_root: str, ignore_index: int = IGNORE_INDEX, classes: int = 0) -> Found:
    """Count classes and images below data_root. classes: their number if it is known; 0: count them. Raises ConfigError
    for a missing folder, another layout, or fewer than two classes."""
    if not data_root and not data.startswith(DATASET_PREFIXES):
        raise ConfigError(f"set the folder of your images: --data-root DIR, containing {LAYOUTS[task]}")
    if task == "classify":
        return _classified(data, data_root, classes)
    if data.startswith(DATASET_PREFIXES):
        raise ConfigError(f"{data} has one label per image: task {task} needs a folder with {LAYOUTS[task]}")
    root = find_root(data_root)
    if task == "segment":
        _, names = names_beside(root)
        config = make_config(task="segment", num_classes=IGNORE_INDEX, ignore_index=ignore_index)
        splits = [segmentation_folder.find_split(root, split, config) for split in ("train", "test")]
        return Found(classes or len(names) or _labelled(splits, ignore_index), len(splits[0]))
    from scaling.data.coco.coco_json import read_coco

    coco = read_coco(root, "train")
    return Found(classes or len(coco.categories), len(coco.with_objects()))


def _classified(data: str, data_root: str, classes: int) -> Found:
    train = image_folder.Files(data_root, "train", data if "/" in data else "")
    known = train.names or (
        range(int(train.labels.max()) + 1) if train.labels is not None and len(train.labels) else ()
    )
    if len(known) < 2 and not classes:
        where = f"{data_root or data} ({train.name(0)} is the first image)" if len(train) else data_root or data
        if not known:
            raise ConfigError(f"the number of classes in {where} is not known; set --num-classes")
        raise ConfigError(f"all training images in {where} have one class: {LAYOUTS['classify']} are expected")
    return Found(classes or len(known), len(train))


def _labelled(splits: list[segmentation_folder.SegmentationFiles], ignore_index: int) -> int:
    """One more than the highest class in any label file."""

    def highest(files: segmentation_folder.SegmentationFiles, i: int) -> int:
        label_HW = files.label(i)
        class_n = label_HW[label_HW != IGNORE_INDEX]
        return int(class_n.max()) if len(class_n) else -1

    found = [
        top
        for files in splits
        for top in in_threads(lambda i, its=files: highest(its, i), np.arange(len(files)))  # type: ignore[misc]
        if not isinstance(top, OSError)  # reported when the images are read
    ]
    if (classes := max(found, default=-1) + 1) < 2:
        raise ConfigError(
            f"the label maps have {'one class, 0,' if classes else 'no class'} where {ignore_index} is the ignore "
            "index; two or more are needed: set --ignore-index to a value that no class has"
        )
    return classes
