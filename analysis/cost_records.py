"""Records of a card: what earlier runs on it say of the cost model's rates. Reads a results folder, writes nothing."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from analysis.cost_model import image_seconds
from scaling.costs import recipe_tokens
from scaling.costs_cards import Card
from scaling.recipe import SIZES, BadInput, Recipe
from scaling.record import RunRecord

SHORTEST = 1.0  # of training that a rate is taken from [s]: less is the first step's set-up


class Measured(NamedTuple):
    """A finished run on the card in question."""

    run_id: str
    family: str  # of the backbone
    width: int  # of the backbone
    tokens: int
    precision: str
    task: str
    ratio: float  # seconds of a training image, measured over predicted [1]
    wall_time: float  # [s]


def measured_on(card: Card, results: Path) -> list[Measured]:
    """The finished runs of a results folder on this card (a processor: of this name) whose rate the model predicts.
    What is damaged, failed, or ran elsewhere is passed over; a folder that is not there holds none."""
    try:
        folders = sorted(path for path in results.iterdir() if path.is_dir())
    except OSError:
        return []
    return [found for folder in folders if (found := _measured(card, folder)) is not None]


def _measured(card: Card, folder: Path) -> Measured | None:
    try:
        record = RunRecord.load(folder)
    except (FileNotFoundError, BadInput):
        return None
    recipe = Recipe.from_dict(record.recipe)
    gpus = record.machine.get("gpus") or []
    device = str(gpus[0] if gpus else record.machine.get("processor", ""))
    there = all(word in device for word in card.words) and bool(gpus) != bool(card.cores)
    usable = record.status == "finished" and record.images_per_second > 0 and recipe.backbone in SIZES
    if not (there and usable) or record.wall_time < SHORTEST:
        return None
    devices = int(record.machine.get("threads" if card.cores else "devices", 1) or 1)
    micro_batch = int(record.machine.get("micro_batch", 0)) or recipe.batch
    size = SIZES[recipe.backbone]
    seconds = devices / record.images_per_second
    return Measured(
        record.run_id,
        size.family,
        size.width,
        recipe_tokens(recipe),
        recipe.precision,
        recipe.task,
        seconds / image_seconds(recipe, card, micro_batch),
        record.wall_time,
    )


def correction(recipe: Recipe, runs: Sequence[Measured], itself: bool = True) -> float:
    """What to multiply predicted seconds by: the ratio of the runs nearest in tokens and width, of the same task,
    family of backbones and precision; the median where several are as near. nan: there is none.

    itself: whether a record of this very run may be among them."""
    size = SIZES.get(recipe.backbone)
    if size is None:
        return math.nan
    alike = (recipe.task, size.family, recipe.precision)
    near: dict[float, list[float]] = {}
    for run in runs:
        if (run.task, run.family, run.precision) == alike and (itself or run.run_id != recipe.run_id):
            distance = abs(math.log(run.tokens / recipe_tokens(recipe))) + 2 * abs(math.log(run.width / size.width))
            near.setdefault(round(distance, 6), []).append(math.log(run.ratio))
    if not near:
        return math.nan
    return math.exp(statistics.median(near[min(near)]))
