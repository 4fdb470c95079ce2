"""The files that a recipe uses, for any task: checks of their names and number, and their fingerprint, for which only
new and changed files are read."""

from collections.abc import Hashable
from pathlib import Path

import numpy as np

from scaling.config.data import COCO_LAYOUT
from scaling.config.edit import value_of
from scaling.config.experiment import ExperimentConfig
from scaling.data.files import image_folder, segmentation_folder
from scaling.data.files.data_root import find_root
from scaling.data.files.file_facts import DataFiles, Selected
from scaling.data.files.file_index import FOLDER, Notify, fingerprint, known, look
from scaling.data.held_out import parted
from scaling.data.sampler import steps_per_epoch
from scaling.errors import ConfigError

# Fields that decide which files a run uses, and whether they are enough.
FILE_FIELDS = (
    *("task", "dataset", "data_root", "num_classes", "num_train", "num_val", "ignore_index", "filter_empty_gt"),
    *("global_batch_size", "val_split"),
)


def files_key(config: ExperimentConfig) -> tuple[Hashable, ...]:
    """All that decides which files a run uses, and whether they are enough."""
    return tuple(value_of(config, name) for name in FILE_FIELDS)


def data_digest(config: ExperimentConfig, results: Path, read: bool = True, notify: Notify | None = None) -> str:
    """16 hex digits; empty where the files are not on this machine, or, without read, where one is new or changed.
    Raises ConfigError, with read, for invalid files."""
    if not read and not (Path(results) / FOLDER).is_dir():
        return ""
    try:
        if not config.data.dataset.startswith("hfds/"):
            find_root(config.data.data_root or "")
        used = _counted(config)
    except ConfigError:
        return ""  # opening them reports it; a finished run does not need them
    if not read:
        seen = [(its.files, known(its.files, its.indices, results)) for its in used]
        return fingerprint((its, found) for its, found in seen if found) if all(found for _, found in seen) else ""
    return fingerprint([(its.files, look(its.files, its.indices, results, notify)) for its in used])


def check_counts(config: ExperimentConfig) -> None:
    """Raise ConfigError for what is wrong with the names and the number of the files that a recipe uses: no image is
    read, and for class folders and label maps torch is not imported."""
    _counted(config)


def image_counts(config: ExperimentConfig) -> tuple[int, int]:
    """Numbers of training images per epoch and of test images, as of the last listing in this process, which is usually
    that for the fingerprint. Raises ConfigError as check_counts."""
    if files_key(config) not in _COUNTS:
        _counted(config)
    return _COUNTS[files_key(config)]


def train_sides(config: ExperimentConfig, results: Path) -> np.ndarray | None:
    """(n, 2) heights and widths of the images that are trained on [px], as an earlier run read them; None: unknown.
    No image is read."""
    if not (Path(results) / FOLDER).is_dir() or config.data.dataset.startswith("hfds/"):
        return None
    try:
        train, _ = _used(config)
    except ConfigError:  # raised again when the run starts
        return None
    kept, _ = parted(train.files.file_names, train.indices, config.data.val_split)
    seen = known(train.files, train.indices[kept], results)
    return seen.size_N2 if seen is not None and seen.size_N2.all() else None


def _counted(config: ExperimentConfig) -> tuple[Selected[DataFiles], Selected[DataFiles]]:
    """The training and the test files, and which of them are used."""
    train, test = _used(config)
    kept, _ = parted(train.files.file_names, train.indices, config.data.val_split)
    steps_per_epoch(len(kept), config.optim.global_batch_size)
    _COUNTS[files_key(config)] = len(kept), len(test.indices)
    return train, test


_COUNTS: dict[tuple[Hashable, ...], tuple[int, int]] = {}


def _used(config: ExperimentConfig) -> tuple[Selected[DataFiles], Selected[DataFiles]]:
    if config.task.kind == "detect":
        from scaling.data.coco import coco_json

        return coco_json.used(config)
    if config.task.kind == "segment" and config.data.dataset in COCO_LAYOUT:
        from scaling.data.coco import coco_label_maps

        return coco_label_maps.used(config)
    return segmentation_folder.used(config) if config.task.kind == "segment" else image_folder.used(config)
