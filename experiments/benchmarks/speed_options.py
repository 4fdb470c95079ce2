"""Speed options of a training step, each on and off: time and memory. The best ones are the defaults
(scaling/config/runtime.py).

All variants of a model are built in one process and take a step each in turn, after two that are not counted. Compiled
code has an OpenMP runtime in addition to torch's, which may slow all else in its process: it goes last, in turn with
the plain step alone.
"""

from collections.abc import Callable

import torch
from rich.table import Table

from experiments.benchmarks.timing import interleaved, peak_of
from experiments.cli.resolve import resolve
from scaling.config.at_shape import model_shape
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.config.runtime import RuntimeConfig
from scaling.data.batch import Batch, ClassTargets
from scaling.engine.trainer import apply_speed_options
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
        config = edit(
            resolve("shapes.deit_nano", patch, {"img_size": image})[0],
            backbone=name,
            global_batch_size=batch,
            pos_embed="learned",
        )
        models.append((name, f"{image}/{patch}", config))
    for compiled in (False, True):
        for name, sides, config in models:
            _compare(table, name, sides, _compiled(config, device) if compiled else _variants(config, device), device)
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


def _compiled(config: ExperimentConfig, device: str) -> dict[str, Callable[[], None]]:
    return {"plain": one_step(config, device), "torch.compile": one_step(config, device, RuntimeConfig(compile=True))}


def _variants(config: ExperimentConfig, device: str) -> dict[str, Callable[[], None]]:
    steps = {
        "plain": one_step(config, device),
        "bf16-mixed": one_step(config, device, bf16=True),
        "recompute": one_step(config, device, RuntimeConfig(grad_checkpointing=True)),
        "channels-last": one_step(config, device, RuntimeConfig(channels_last=True)),
        "AdamW not fused": one_step(config, device, fused=False),
    }
    if device == "cuda":
        steps["copies that block"] = one_step(config, device, blocking=True)
    return steps


def one_step(
    config: ExperimentConfig,
    device: str,
    settings: RuntimeConfig | None = None,
    bf16: bool = False,
    fused: bool = True,
    blocking: bool = False,
) -> Callable[[], None]:
    """One training step of a task of its own, images copied to the device included."""
    torch.manual_seed(0)
    task = ClassificationTask(config, 100).to(device).train()
    apply_speed_options(task, settings or RuntimeConfig())
    optimiser = torch.optim.AdamW(parameter_groups(task, 0.05, 1e-4), lr=1e-4, fused=fused)
    images = torch.randint(
        0, 256, (config.optim.global_batch_size, 3, config.model.img_size, config.model.img_size), dtype=torch.uint8
    )
    labels = torch.arange(config.optim.global_batch_size) % config.data.num_classes
    keys = [SampleKey(0, i) for i in range(config.optim.global_batch_size)]
    batch = Batch(images, keys, model_shape(config), ClassTargets(labels))
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
