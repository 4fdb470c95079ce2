"""The cost of a flexible model: a training step over one of a fixed patch of the same size, and an evaluation at
several patch sizes over the sum of one at each. Targets: at most 1.02, and at most 1."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from rich.table import Table
from rich.text import Text

from experiments.benchmarks.speed_options import one_step
from experiments.benchmarks.timing import interleaved, progress
from experiments.cli.resolve import resolve
from scaling.config.at_shape import evaluated_patches
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.data.datamodule import ImageDataModule
from scaling.tasks.classification import ClassificationTask

TURNS, WARM, REPEATS = 7, 1, 3
# model, image [px], patches [px], images per step: something for a CPU, something for a GPU
MODELS: dict[str, list[tuple[str, int, tuple[int, ...], int]]] = {
    "cpu": [
        ("deit_nano", 16, (8, 4, 2), 32),
        ("adventurer_nano", 16, (8, 4, 2), 32),
        ("deit_nano", 32, (8, 4), 128),
        ("deit_tiny", 64, (16, 8), 8),
    ],
    "cuda": [("deit_base", 240, (30, 16), 128), ("adventurer_base", 240, (30, 16), 128)],
}


def steps() -> Table:
    """Median time of a training step of a fixed patch, and of a flexible model with a kernel of 32 px at that patch. On
    a CPU it is the process's own time on one thread, which other load changes least. The ratio is the median of
    REPEATS, with their range."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    clock = time.perf_counter if device == "cuda" else time.process_time
    columns = ("model", "px", "images", "fixed", "flexible", "ratio, range")
    table = Table(*columns, title=f"flexible steps on {device}, ms")
    cases = [(name, image, patch, batch) for name, image, patches, batch in MODELS[device] for patch in patches]
    for name, image, patch, batch in progress(cases, "flexible steps"):
        fixed = edit(_recipe(name, image, patch), global_batch_size=batch)
        flexible = edit(fixed, patch_embed="flexible")
        with one_thread():
            calls = {"fixed": one_step(fixed, device), "flexible": one_step(flexible, device)}
            took = [interleaved(calls, TURNS, WARM, clock=clock) for _ in range(REPEATS)]
        ratios = sorted(one["flexible"] / one["fixed"] for one in took)
        cells = [f"{1000 * statistics.median(one[kind] for one in took):.2f}" for kind in calls]
        ratio = f"{statistics.median(ratios):.3f} [{ratios[0]:.3f}, {ratios[-1]:.3f}]"
        table.add_row(name, f"{image}/{patch}", str(batch), *cells, Text(ratio))
    return table


def evaluations() -> Table:
    """Median time of an evaluation of 512 images at patches 16, 8, 4 and 2 together, and of one at each: the process's
    own time on one thread."""
    table = Table("model", "together, ms", "sum of each, ms", "ratio", title="evaluation at four patch sizes on cpu")
    for name in progress(("deit_nano", "adventurer_nano"), "evaluations"):
        fields = {"num_train": 32, "num_val": 512, "patch_embed": "flexible", "step_shapes": "random_patch"}
        config = edit(_recipe(name, 16, 2), **fields)
        data = ImageDataModule(config)
        data.setup()
        task, every = ClassificationTask(config, 1).eval(), evaluated_patches(config)
        calls = {"together": _evaluation(task, data, every)}
        calls |= {str(patch): _evaluation(task, data, (patch,)) for patch in every}
        with one_thread():
            took = interleaved(calls, 5, 1, clock=time.process_time)
        together = took.pop("together")
        total = sum(took.values())
        table.add_row(name, f"{1000 * together:.1f}", f"{1000 * total:.1f}", f"{together / total:.3f}")
    return table


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch has one thread. Two that have to wait for each other on two cores with other load took 56
    times as long: 93 instead of 1.7 s for an evaluation of DeiT-nano (2026-11-28)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _recipe(name: str, image: int, patch: int) -> ExperimentConfig:
    return edit(resolve("shapes.deit_nano", patch, {"img_size": image})[0], backbone=name)


def _evaluation(task: ClassificationTask, data: ImageDataModule, patches: tuple[int, ...]) -> Callable[[], object]:
    def evaluate() -> object:
        task.evaluated_patches = patches
        with torch.inference_mode():
            for number, batch in enumerate(data.test_dataloader()):
                task.test_step(batch, number)
        return task.compute_metrics_by_patch()

    return evaluate
