"""The time of test losses along a run (--test-points), over that of the training they interrupt, in one process."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from rich.table import Table

from experiments.cli.resolve import resolve
from scaling.config.experiment import ExperimentConfig
from scaling.config.runtime import RuntimeConfig
from scaling.data.datamodule import ImageDataModule
from scaling.engine.callbacks.run_callbacks import run_callbacks
from scaling.engine.environment import Memory
from scaling.engine.trainer import make_trainer
from scaling.tasks.classification import ClassificationTask

RECIPES = ("shapes.deit_nano", "shapes.adventurer_nano")
PATCHES, TURNS = (16, 4, 2), 3
# Of an epoch, of which there are two: as many are seen as in the recipes, so 184 test images at each of 8 points.
IMAGES = 8192
POINTS = RuntimeConfig().test_points


def curve_losses(patches: tuple[int, ...] = PATCHES, turns: int = TURNS, images: int = IMAGES) -> Table:
    """Seconds of the test losses along a run over seconds of its training steps [%], planned for 3, one thread. A run
    of each recipe and patch size in turn, so that a slow minute slows all."""
    torch.set_num_threads(1)
    cases = [(name, patch) for name in RECIPES for patch in patches]
    seconds = np.array([[_seconds(*case, images) for case in cases] for _ in range(turns)])
    testing_TC, training_TC = seconds[..., 0], seconds[..., 1]
    table = Table("recipe", "patch", r"training \[s]", "share [%]", "each run", title=f"--test-points {POINTS}")
    for (name, patch), testing_T, training_T in zip(cases, testing_TC.T, training_TC.T, strict=True):
        each = " ".join(f"{100 * share:.2f}" for share in testing_T / training_T)
        whole = 100 * testing_T.sum() / training_T.sum()
        table.add_row(name, str(patch), f"{training_T.mean():.1f}", f"{whole:.2f}", each)
    every = " ".join(f"{100 * share:.2f}" for share in testing_TC.sum(1) / training_TC.sum(1))
    table.add_row("all", "", "", f"{100 * testing_TC.sum() / training_TC.sum():.2f}", every)
    return table


def _seconds(name: str, patch: int, images: int) -> tuple[float, float]:
    """Seconds of the test losses along a run, and of its training steps."""
    config: ExperimentConfig = resolve(name, patch, {"epochs": 2, "num_train": images, "num_val": 256})[0]
    data = ImageDataModule(config)
    data.setup()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        callbacks = run_callbacks(config, path, data, 10.0, POINTS, None, lambda event: None, Memory(cuda=False))
        trainer = make_trainer(config, RuntimeConfig(accelerator="cpu"), callbacks.for_lightning, data, path)
        trainer.fit(ClassificationTask(config, data.total_steps), datamodule=data)
    return callbacks.throughput.state.testing_seconds, callbacks.throughput.state_dict()["train_seconds"]
