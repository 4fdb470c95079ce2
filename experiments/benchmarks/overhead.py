"""The overhead of the framework: a step of it and a step of a bare PyTorch loop, in turn, in one process. The last row
has Lightning's own share: an empty step through its loop, without any of our callbacks."""

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import lightning as L
import numpy as np
import torch
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR

from experiments.cli.resolve import resolve
from scaling.config.experiment import ExperimentConfig
from scaling.config.runtime import RuntimeConfig
from scaling.data.batch import Batch, ClassTargets
from scaling.data.datamodule import ImageDataModule
from scaling.engine.callbacks.run_callbacks import run_callbacks
from scaling.engine.environment import Memory
from scaling.engine.trainer import make_trainer
from scaling.tasks.classification import ClassificationTask
from scaling.tasks.optim import Optimisation

STEPS = {16: 256, 8: 256, 4: 256, 2: 128, 1: 48}  # patch and steps, in two epochs so that checkpoints are in it
BLOCK = 16  # steps of which one ratio is made


class InTurn(L.Callback):
    """After every step of the framework a step of a bare loop, both timed: a machine that slows down slows both."""

    def __init__(self, bare: Iterator[None]) -> None:
        self._bare = bare
        self.harness: list[float] = []  # seconds a step, from the end of one to the end of the next
        self.bare: list[float] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._resumed = time.perf_counter()

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        ended = time.perf_counter()
        next(self._bare)
        done = time.perf_counter()
        self.harness.append(ended - self._resumed)
        self.bare.append(done - ended)
        self._resumed = time.perf_counter()


class EmptyModule(L.LightningModule):
    """One weight, and a step that has next to no arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def training_step(self, batch: object, batch_idx: int) -> Tensor:
        return self.weight.sum()

    def configure_optimizers(self) -> Optimisation:
        optimiser = torch.optim.SGD([self.weight], lr=0.1)
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": LambdaLR(optimiser, lambda step: 1.0), "interval": "step"},
        }


def bare_steps(
    config: ExperimentConfig,
    data: ImageDataModule,
    module: ClassificationTask | EmptyModule,
    loss_of: Callable[[Batch], Tensor],
) -> Iterator[None]:
    """Training in the plainest loop that makes the same steps as Lightning's; stops after each. loss_of: of a batch."""
    chosen = module.configure_optimizers()
    optimiser, schedule = chosen["optimizer"], chosen["lr_scheduler"]["scheduler"]
    parameters = list(module.parameters())
    module.train()
    data.trainer = None
    for batch in data.train_dataloader():
        loss = loss_of(batch)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.optim.max_grad_norm or math.inf)
        optimiser.step()
        schedule.step()
        yield


def overhead() -> Table:
    """The harness's time over the bare loop's at each step of the main job, one thread as there, and at all of them."""
    table = Table("recipe", "patch", "bare [ms]", "harness [ms]", "ratio", "middle half", title="overhead")
    torch.set_num_threads(1)
    total = np.zeros(2)
    for name in ("shapes.deit_nano", "shapes.adventurer_nano"):
        for patch, steps in STEPS.items():
            config = resolve(name, patch, {"epochs": 2, "num_train": 16 * steps, "num_val": 64})[0]
            bare, harness = (np.array(seconds[BLOCK:]) for seconds in _in_turn(config))  # the first steps warm up
            ratios = harness.reshape(-1, BLOCK).sum(1) / bare.reshape(-1, BLOCK).sum(1)
            low, high = np.quantile(ratios, (0.25, 0.75))
            table.add_row(
                name, str(patch), f"{1000 * bare.mean():.2f}", f"{1000 * harness.mean():.2f}",
                f"{harness.sum() / bare.sum():.3f}", f"{low:.3f} to {high:.3f}",
            )  # fmt: skip
            total += bare.mean(), harness.mean()
    table.add_row("a step of each", "", *(f"{1000 * t:.2f}" for t in total), f"{total[1] / total[0]:.3f}", "")
    empty = [f"{1000 * statistics.median(seconds[BLOCK:]):.2f}" for seconds in _empty_in_turn()]
    table.add_row("an empty step, Lightning alone", "", *empty, "", "")
    return table


def _in_turn(config: ExperimentConfig) -> tuple[list[float], list[float]]:
    """Seconds of every step of the bare loop, and of the same steps through the harness with everything on."""
    data = ImageDataModule(config)
    data.setup()
    with tempfile.TemporaryDirectory() as folder:
        module = ClassificationTask(config, data.total_steps)

        def loss_of(batch: Batch) -> Tensor:
            return cross_entropy(module(batch.pixels), cast(ClassTargets, batch.targets).label_B)

        turns = InTurn(bare_steps(config, data, module, loss_of))
        callbacks = run_callbacks(config, Path(folder), data, 10.0, 0, None, lambda event: None, Memory(cuda=False))
        trainer = make_trainer(
            config, RuntimeConfig(accelerator="cpu"), [*callbacks.for_lightning, turns], data, Path(folder)
        )
        trainer.fit(ClassificationTask(config, data.total_steps), datamodule=data)
    return turns.bare, turns.harness


def _empty_in_turn() -> tuple[list[float], list[float]]:
    """Seconds of empty steps by the bare loop and by Lightning's, with the Trainer of a run, on the same batches."""
    config = resolve("shapes.deit_nano", 16, {"epochs": 1, "num_train": 16 * STEPS[16], "num_val": 64})[0]
    data = ImageDataModule(config)
    data.setup()
    with tempfile.TemporaryDirectory() as folder:
        module = EmptyModule()
        turns = InTurn(bare_steps(config, data, module, lambda batch: module.training_step(batch, 0)))
        trainer = make_trainer(config, RuntimeConfig(accelerator="cpu"), [turns], data, Path(folder))
        trainer.fit(EmptyModule(), train_dataloaders=data.train_dataloader())
    return turns.bare, turns.harness
