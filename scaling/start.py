"""From run to run: the weights that a finished run leaves, and how the next stage of a chain begins with them."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scaling.backbones.weights import check_fit, load_state, read_state_dict
from scaling.recipe import BadInput, Recipe
from scaling.record import WEIGHTS, RunRecord

KEYS = {"raw": "model", "averaged": "model_ema"}  # in a weights file: those of the released checkpoints


def save_weights(weights: dict[str, dict[str, Tensor]], folder: Path) -> None:
    """Write folder/weights.pt: all of it or nothing. weights: by KEYS; timm and --weights read it as it is."""
    temporary = folder / f".{WEIGHTS}.{os.getpid()}"
    torch.save(weights, temporary)
    os.replace(temporary, folder / WEIGHTS)


def check_start(recipe: Recipe, results: Path) -> None:
    """Raise BadInput unless the run that this one starts from is finished and has left its weights."""
    before = recipe.predecessor
    if before is None:
        return
    name = f"stage {before.stage}" if before.stage else "its start"
    try:
        record = RunRecord.load(results / before.run_id)
    except FileNotFoundError as e:
        raise BadInput(f"{name}, run {before.run_id}, is not finished in {results}; do that run first") from e
    if record.status != "finished":
        raise BadInput(f"{name}, run {before.run_id}, failed ({record.failure.get('reason')}); mend and redo it first")
    if not (results / before.run_id / WEIGHTS).is_file():
        raise BadInput(f"{name}, run {before.run_id}, has no {WEIGHTS} any more; delete its folder and do it again")


def start_from(task: Any, recipe: Recipe, results: Path) -> None:
    """Give a task the weights of the run that it starts from: those that were judged there. Positions are resampled,
    and the patch kernel where the patch is another; the head is taken as it is."""
    before = recipe.predecessor
    if before is None:
        return
    source = results / before.run_id / WEIGHTS
    state = read_state_dict(str(source), (KEYS[before.judged],))
    load_state(task.backbone, state, str(source), recipe.compat)
    head = {name.removeprefix("head."): t for name, t in state.items() if name.startswith("head.")}
    check_fit(head, task.head.state_dict(), f"{source} (head)")
    task.head.load_state_dict(head)
