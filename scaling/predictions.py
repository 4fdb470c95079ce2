"""Pictures of what a finished run says of test images: drawn from the weights that it left, so at any time after it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from scaling.data.batch import Draw
from scaling.data.module import Images
from scaling.pictures import write_pictures
from scaling.progress import Event
from scaling.recipe import BadInput, Recipe
from scaling.record import WEIGHTS
from scaling.start import restore

PREDICTIONS = "predictions"  # folder of pictures in a run's folder


def draw_predictions(
    recipe: Recipe, folder: Path, count: int, task: Callable[..., Any], report: Callable[[Event], None]
) -> None:
    """Write folder/predictions/000.png and on: the first `count` test images, or all, with their labels and what the
    judged weights say. Does nothing where they are there. Raises BadInput where the weights are gone."""
    there = len(list((folder / PREDICTIONS).glob("*.png")))
    if there >= count:
        return
    if not (folder / WEIGHTS).is_file():
        raise BadInput(f"run {folder.name} has no {WEIGHTS} any more: no predictions without it")
    data = Images(recipe)
    data.prepare()
    module = task(recipe, data.total_steps, data.names)
    restore(module, recipe, folder)
    module.eval()
    with torch.no_grad():
        batches = (data.test_set.__getitems__([Draw(0, i)]) for i in range(min(count, len(data.test_set))))
        pictures = (module.picture(batch) for batch in batches if len(batch.image_BCHW))
        paths = write_pictures(pictures, folder / PREDICTIONS)
    report(Event("note", text=f"{len(paths)} predictions of {folder.name}: {folder / PREDICTIONS}"))
