"""The fingerprint of the files that a recipe uses, whatever its task, from what starts have read before."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from scaling.data import coco_files, files, scene_files
from scaling.data.file_index import FOLDER, Examined, Say, fingerprint, known, look
from scaling.recipe import BadInput, Recipe


def data_digest(recipe: Recipe, results: Path, read: bool = True, say: Say | None = None) -> str:
    """16 hex digits; empty where there are no such files here, or, without read, where one has not been read before.
    Raises BadInput, with read, for what is wrong with them."""
    if not read and not (Path(results) / FOLDER).is_dir():
        return ""
    try:
        if not recipe.data.startswith("hfds/"):
            files.find_root(recipe.data_root)
        used = list(_used(recipe))
    except BadInput:
        return ""  # a run says so when it opens them, unless it is done already
    if not read:
        seen = [(its, known(its, indices, results)) for its, indices in used]
        return fingerprint((its, found) for its, found in seen if found) if all(found for _, found in seen) else ""
    return fingerprint([(its, look(its, indices, results, say)) for its, indices in used])


def _used(recipe: Recipe) -> Iterator[tuple[Examined, np.ndarray]]:
    if recipe.task == "detect":
        for coco in coco_files.used(recipe):
            yield coco.files(), np.arange(len(coco))
    else:
        yield from scene_files.used(recipe) if recipe.task == "segment" else files.used(recipe)
