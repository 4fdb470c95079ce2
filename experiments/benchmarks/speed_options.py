"""Speed options of a training step, each on and off: time and memory. The best ones are the defaults
(scaling/engine/settings.py).

All variants of a model are built in one process and take a step each in turn, after two that are not counted. Compiled
code has an OpenMP runtime of its own beside torch's, which may slow all else in its process: it goes last, in turn with
the plain step alone.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from rich.table import Table

from experiments.benchmarks.timing import interleaved, peak_of
from experiments.cli.arguments import resolve
from scaling.data.batch import Batch, ClassTargets
from scaling.data.dataset import model_shape
from scaling.engine.train import Settings
from scaling.engine.trainer import apply_speed_options
from scaling.recipe import Recipe
from scaling.rng import SampleKey
from scaling.tasks.classification import ClassificationTask
from scaling.tasks.optim import parameter_groups

TURNS, WARM = 9, 2
# model, image and patch [px], images a step: something for a CPU, something for a GPU
MODELS = {
    "cpu": [("deit_nano", 32, 4, 32), ("adventurer_nano", 32, 4, 32), ("deit_tiny", 64, 8, 16)],
    "cuda": [("deit_base", 224, 16, 128), ("adventurer_base", 224, 16, 128), ("adventurer_base", 224, 8, 32)],
}


def speed_options() -> Table:
    """Median time of a step and its peak memory, over those of a step with every option off (AdamW fused)."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    table = Table(
        "model", "px", "option", "ms", "time", "memory", title=f"speed options on {device}, over the plain step"
    )
    models = []
    for name, image, patch, batch in MODELS[device]:
        recipe = replace(
            resolve("shapes.deit_nano", patch, {"image": image})[0], backbone=name, batch=batch, position="learned"
        )
        models.append((name, f"{image}/{patch}", recipe))
    for compiled in (False, True):
        for name, sides, recipe in models:
            _compare(table, name, sides, _compiled(recipe, device) if compiled else _variants(recipe, device), device)
    return table


def _compare(table: Table, name: str, sides: str, variants: dict[str, Callable[[], None]], device: str) -> None:
    seconds, peaks = (
        interleaved(variants, TURNS, WARM),
        {name: peak_of(step, device == "cuda") for name, step in variants.items()},
    )
    for option, took in seconds.items():
        ratio, memory = took / seconds["plain"], peaks[option] / max(1, peaks["plain"])
        table.add_row(name, sides, option, f"{1000 * took:.1f}", f"{ratio:.2f}", f"{memory:.2f}")
    table.add_section()


def _compiled(recipe: Recipe, device: str) -> dict[str, Callable[[], None]]:
    return {"plain": _step(recipe, device), "torch.compile": _step(recipe, device, Settings(compile=True))}


def _variants(recipe: Recipe, device: str) -> dict[str, Callable[[], None]]:
    steps = {
        "plain": _step(recipe, device),
        "bf16-mixed": _step(recipe, device, bf16=True),
        "recompute": _step(recipe, device, Settings(recompute=True)),
        "channels-last": _step(recipe, device, Settings(channels_last=True)),
        "AdamW not fused": _step(recipe, device, fused=False),
    }
    if device == "cuda":
        steps["copies that block"] = _step(recipe, device, blocking=True)
    return steps


def _step(
    recipe: Recipe,
    device: str,
    settings: Settings | None = None,
    bf16: bool = False,
    fused: bool = True,
    blocking: bool = False,
) -> Callable[[], None]:
    """One training step of a task of its own, images copied to the device included."""
    torch.manual_seed(0)
    task: Any = ClassificationTask(recipe, 100).to(device).train()
    apply_speed_options(task, settings or Settings())
    optimiser = torch.optim.AdamW(parameter_groups(task, 0.05, 1e-4), lr=1e-4, fused=fused)
    images = torch.randint(0, 256, (recipe.batch, 3, recipe.image, recipe.image), dtype=torch.uint8)
    labels = torch.arange(recipe.batch) % recipe.classes
    keys = [SampleKey(0, i) for i in range(recipe.batch)]
    batch = Batch(images, keys, model_shape(recipe), ClassTargets(labels))
    if device == "cuda":
        batch = batch.pin_memory()

    def step() -> None:
        moved = batch.to(device, non_blocking=not blocking)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
            loss = task.training_step(moved, 0)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()

    return step
