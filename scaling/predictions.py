"""What a finished run says of test images, from the weights that it left, so at any time after it: pictures, and a file
of detections as COCO's tools read them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from scaling.data.batch import Draw
from scaling.data.module import Images
from scaling.pictures import write_pictures
from scaling.progress import Event
from scaling.recipe import BadInput, Recipe
from scaling.record import WEIGHTS, write_atomically
from scaling.start import restore

PREDICTIONS = "predictions"  # folder of pictures in a run's folder
DETECTIONS = "detections.json"  # file there
Report = Callable[[Event], None]


def draw_predictions(recipe: Recipe, folder: Path, count: int, task: Callable[..., Any], report: Report) -> None:
    """Write folder/predictions/000.png and on: the first `count` test images, or all, with their labels and what the
    judged weights say. Does nothing where they are there. Raises BadInput where the weights are gone."""
    there = len(list((folder / PREDICTIONS).glob("*.png")))
    if there >= count:
        return
    data, module = _restored(recipe, folder, task)
    pictures = (module.picture(batch) for batch in _singly(data, count))
    with torch.no_grad():
        paths = write_pictures(pictures, folder / PREDICTIONS)
    report(Event("note", text=f"{len(paths)} predictions of {folder.name}: {folder / PREDICTIONS}"))


def export_detections(recipe: Recipe, folder: Path, task: Callable[..., Any], report: Report) -> None:
    """Write folder/detections.json, COCO's results of boxes and masks: what the judged weights find in all test images,
    under the data's own numbers of images and categories. Does nothing where it is there. Raises BadInput as above."""
    path = folder / DETECTIONS
    if path.exists():
        return
    data, module = _restored(recipe, folder, task)
    found: list[dict[str, Any]] = []
    with torch.no_grad():
        for batch in _singly(data, len(data.test_set)):
            found += module.as_coco(batch, data.test_set.categories)  # type: ignore[attr-defined]
    write_atomically(path, json.dumps(found, separators=(",", ":")) + "\n")
    report(Event("note", text=f"{len(found)} detections of {folder.name}: {path}"))


def _restored(recipe: Recipe, folder: Path, task: Callable[..., Any]) -> tuple[Images, Any]:
    """The run's data, and its task with the weights that it was judged by."""
    if not (folder / WEIGHTS).is_file():
        raise BadInput(f"run {folder.name} has no {WEIGHTS} any more: no predictions without it")
    data = Images(recipe, results=folder.parent)
    data.prepare()
    module = task(recipe, data.total_steps, data.names)
    restore(module, recipe, folder)
    return data, module.eval()


def _singly(data: Images, count: int) -> Iterator[Any]:
    """The first test images that can be read, each in a batch of its own."""
    for number in range(min(count, len(data.test_set))):
        batch = data.test_set.__getitems__([Draw(0, number)])
        if len(batch.image_BCHW):
            yield batch
