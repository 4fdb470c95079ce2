"""The files that a recipe uses, whatever its task: what their number says before they are read, and their fingerprint,
from what starts have read before."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from scaling.data import image_folder, segmentation_folder
from scaling.data.file_index import FOLDER, Examined, Say, fingerprint, known, look
from scaling.data.held_out import parted
from scaling.data.sampler import steps_per_epoch
from scaling.errors import ConfigError
from scaling.recipe import Recipe
from scaling.runs.identity import USED


def data_digest(recipe: Recipe, results: Path, read: bool = True, say: Say | None = None) -> str:
    """16 hex digits; empty where there are no such files here, or, without read, where one has not been read before.
    Raises ConfigError, with read, for what is wrong with them."""
    if not read and not (Path(results) / FOLDER).is_dir():
        return ""
    try:
        if not recipe.data.startswith("hfds/"):
            image_folder.find_root(recipe.data_root)
        used = _counted(recipe)
    except ConfigError:
        return ""  # a run says so when it opens them, unless it is done already
    if not read:
        seen = [(its, known(its, indices, results)) for its, indices in used]
        return fingerprint((its, found) for its, found in seen if found) if all(found for _, found in seen) else ""
    return fingerprint([(its, look(its, indices, results, say)) for its, indices in used])


def check_counts(recipe: Recipe) -> None:
    """Raise ConfigError for what is wrong with the files that a recipe uses, as far as their names and numbers say it:
    no image is read, and for a folder of class folders or of labels torch is not needed."""
    _counted(recipe)


def image_counts(recipe: Recipe) -> tuple[int, int]:
    """How many images a recipe trains on in an epoch, and is tested on, when its files were last listed in this
    process, which as a rule was for their fingerprint. Raises ConfigError as check_counts."""
    if _key(recipe) not in _COUNTS:
        _counted(recipe)
    return _COUNTS[_key(recipe)]


def _counted(recipe: Recipe) -> list[tuple[Examined, np.ndarray]]:
    """The training and the test files, and which of them are used."""
    used = list(_used(recipe))
    (train, of_train), (_, of_test) = used
    kept, _ = parted(train.file_names, of_train, recipe.val_split)
    steps_per_epoch(len(kept), recipe.batch)
    _COUNTS[_key(recipe)] = len(kept), len(of_test)
    return used


def _key(recipe: Recipe) -> tuple[Any, ...]:
    """All that decides which files are used, and whether they are enough."""
    return tuple(getattr(recipe, name) for name in (*USED, "batch", "val_split"))


_COUNTS: dict[tuple[Any, ...], tuple[int, int]] = {}


def _used(recipe: Recipe) -> Iterator[tuple[Examined, np.ndarray]]:
    if recipe.task == "detect":
        from scaling.data import coco_dataset

        for coco in coco_dataset.used(recipe):
            yield coco.files(), np.arange(len(coco))
    else:
        yield from segmentation_folder.used(recipe) if recipe.task == "segment" else image_folder.used(recipe)
