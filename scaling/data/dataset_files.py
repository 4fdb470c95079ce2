"""The files that a recipe uses, for any task: checks of their names and number, and their fingerprint, for which only
new and changed files are read."""

from pathlib import Path
from typing import Any

from scaling.data import image_folder, segmentation_folder
from scaling.data.data_root import find_root
from scaling.data.file_facts import Selected
from scaling.data.file_index import FOLDER, Say, fingerprint, known, look
from scaling.data.held_out import parted
from scaling.data.sampler import steps_per_epoch
from scaling.errors import ConfigError
from scaling.recipe import Recipe
from scaling.runs.identity import USED


def data_digest(recipe: Recipe, results: Path, read: bool = True, say: Say | None = None) -> str:
    """16 hex digits; empty where the files are not on this machine, or, without read, where one is new or changed.
    Raises ConfigError, with read, for invalid files."""
    if not read and not (Path(results) / FOLDER).is_dir():
        return ""
    try:
        if not recipe.data.startswith("hfds/"):
            find_root(recipe.data_root)
        used = _counted(recipe)
    except ConfigError:
        return ""  # opening them reports it; a finished run does not need them
    if not read:
        seen = [(its, known(its, indices, results)) for its, indices in used]
        return fingerprint((its, found) for its, found in seen if found) if all(found for _, found in seen) else ""
    return fingerprint([(its, look(its, indices, results, say)) for its, indices in used])


def check_counts(recipe: Recipe) -> None:
    """Raise ConfigError for what is wrong with the names and the number of the files that a recipe uses: no image is
    read, and for class folders and label maps torch is not imported."""
    _counted(recipe)


def image_counts(recipe: Recipe) -> tuple[int, int]:
    """Numbers of training images per epoch and of test images, as of the last listing in this process, which is usually
    that for the fingerprint. Raises ConfigError as check_counts."""
    if _key(recipe) not in _COUNTS:
        _counted(recipe)
    return _COUNTS[_key(recipe)]


def _counted(recipe: Recipe) -> tuple[Selected, Selected]:
    """The training and the test files, and which of them are used."""
    train, test = _used(recipe)
    kept, _ = parted(train.files.file_names, train.indices, recipe.val_split)
    steps_per_epoch(len(kept), recipe.batch)
    _COUNTS[_key(recipe)] = len(kept), len(test.indices)
    return train, test


def _key(recipe: Recipe) -> tuple[Any, ...]:
    """The fields that decide which files are used, and whether they suffice."""
    return tuple(getattr(recipe, name) for name in (*USED, "batch", "val_split"))


_COUNTS: dict[tuple[Any, ...], tuple[int, int]] = {}


def _used(recipe: Recipe) -> tuple[Selected, Selected]:
    if recipe.task == "detect":
        from scaling.data import coco_json

        return coco_json.used(recipe)
    return segmentation_folder.used(recipe) if recipe.task == "segment" else image_folder.used(recipe)
