"""The cost of instruments (docs/stability.md): steps of one run with them and without, in turn, block by block, in one
process. Target: at most 1 % of a step."""

import functools
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import lightning as L
import numpy as np
import torch
from rich.table import Table

from experiments.benchmarks.timing import progress
from experiments.cli.resolve import resolve
from scaling.config.experiment import ExperimentConfig
from scaling.config.runtime import RuntimeConfig
from scaling.data.datamodule import ImageDataModule
from scaling.engine.callbacks.checkpointer import Checkpointer
from scaling.engine.callbacks.dispatcher import HOOKS, HookDispatcher
from scaling.engine.callbacks.instrument import EVERY
from scaling.engine.callbacks.run_callbacks import RunCallbacks, run_callbacks
from scaling.engine.environment import Memory
from scaling.engine.trainer import make_trainer
from scaling.tasks.classification import ClassificationTask

Outputs = torch.Tensor | Mapping[str, object] | None  # of a training step
BLOCK = EVERY  # steps: one of each block is read in full
PAIRS, REPEATS = 24, 3  # pairs of blocks in a run, runs
# recipe, patch [px], micro-batches of a step, maximum norm of the gradient
CASES = (
    ("shapes.deit_nano", 16, 1, 1.0),
    ("shapes.deit_nano", 16, 1, None),
    ("shapes.deit_nano", 16, 2, 1.0),
    ("shapes.deit_nano", 4, 1, 1.0),
    ("shapes.adventurer_nano", 16, 1, 1.0),
    ("shapes.adventurer_nano", 4, 1, 1.0),
)


class Alternating(L.Callback):
    """The callbacks of a run, of which instruments are called in every other block of steps alone. seconds: of each
    step, the time of this process."""

    def __init__(self, callbacks: RunCallbacks) -> None:
        self._curve, self._instruments = callbacks.curve, tuple(callbacks.curve.instruments)
        every = [each for each in callbacks.ordered if not isinstance(each, Checkpointer)]  # whose time varies
        self._all = HookDispatcher(every)
        self._rest = HookDispatcher([each for each in every if each not in self._instruments])
        self._now, self.seconds, self._began = self._all, list[float](), 0.0
        for hook in HOOKS:
            if hook != "on_train_batch_end":
                setattr(self, hook, functools.partial(self._call, hook))

    def _call(self, hook: str, *arguments: object, **named: object) -> None:
        getattr(self._now, hook)(*arguments, **named)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Outputs, batch: object, batch_idx: int
    ) -> None:
        self._now.on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if trainer.global_step > len(self.seconds):
            self.seconds.append(time.process_time() - self._began)
            self._switch(pl_module, trainer.global_step // BLOCK % 2 == 0)
            self._began = time.process_time()

    def _switch(self, task: L.LightningModule, on: bool) -> None:
        """Without instruments gradients are clipped by Lightning."""
        self._now, self._curve.instruments = (self._all, self._instruments) if on else (self._rest, ())
        if on:
            vars(task).pop("configure_gradient_clipping", None)
        else:
            clip: Callable[..., None] = functools.partial(L.LightningModule.configure_gradient_clipping, task)
            vars(task)["configure_gradient_clipping"] = clip


def instruments() -> Table:
    """Time of a step without instruments, what they add to it, and the share: medians over pairs of blocks in one
    thread; of the share the median of REPEATS runs, with their range."""
    columns = ("recipe", "patch", "micro-batches", "clipped", "step [ms]", "added [ms]", "share [%]")
    table = Table(*columns, title="instruments")
    torch.set_num_threads(1)
    for name, patch, micro_batches, clip in progress(CASES, "instruments"):
        steps = 2 * BLOCK * (PAIRS + 1)  # the first pair warms up
        # An epoch ends behind three blocks, in one with instruments as often as in one without.
        fields = {"epochs": 1, "max_steps": steps, "num_train": 3 * BLOCK * 32, "num_val": 64, "max_grad_norm": clip}
        config = resolve(name, patch, fields)[0]
        took = np.sort([_medians(_seconds(config, micro_batches)) for _ in range(REPEATS)], axis=0)
        step, added, share = np.median(took, axis=0)
        cells = (f"{step:.2f}", f"{added:.3f}", f"{share:.2f}, {took[0, 2]:.2f} to {took[-1, 2]:.2f}")
        table.add_row(name, str(patch), str(micro_batches), "yes" if clip else "no", *cells)
    return table


def _medians(seconds: list[float]) -> tuple[float, float, float]:
    """Of a step without instruments [ms], of what they add [ms], and of the latter's share [%]. The first pair of
    blocks warms up."""
    with_them, without = 1000 * np.array(seconds).reshape(-1, 2, BLOCK).mean(2)[1:].T
    step, added = np.median(without), np.median(with_them - without)
    return float(step), float(added), float(100 * added / step)


def _seconds(config: ExperimentConfig, micro_batches: int) -> list[float]:
    data = ImageDataModule(config)
    data.setup()
    data.micro_batches = micro_batches
    with tempfile.TemporaryDirectory() as folder:
        callbacks = run_callbacks(config, Path(folder), data, 10.0, 0, None, lambda event: None, Memory(cuda=False))
        turns = Alternating(callbacks)
        trainer = make_trainer(config, RuntimeConfig(accelerator="cpu"), [turns], data, Path(folder))
        trainer.accumulate_grad_batches = micro_batches
        trainer.fit(ClassificationTask(config, data.total_steps), datamodule=data)
    return turns.seconds
