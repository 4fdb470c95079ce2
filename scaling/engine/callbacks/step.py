"""The optimiser step that has just ended, as the callbacks of a run see it, and what else they share.

Lightning calls them after every micro-batch, while everything here is counted in optimiser steps: `StepTracker` stands
before the others and finds out which micro-batch ended a step.
"""

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import lightning as L
import torch
from torch import Tensor

from scaling.config.experiment import ExperimentConfig
from scaling.data.batch import Batch
from scaling.data.datamodule import ImageDataModule
from scaling.engine import evaluation_steps
from scaling.engine.callbacks.clock import RunClock
from scaling.engine.callbacks.instrument import is_read
from scaling.runs.events import Report
from scaling.tasks.optim import lr_share

REPORT_SECONDS = 0.2  # between two "train" events


@dataclass(frozen=True)
class Step:
    """One optimiser step that has ended."""

    number: int  # from 1
    loss: Tensor  # training loss on this device, mean over the step's micro-batches [nats]
    lr: float  # learning rate that it was made with
    ended: float  # time.monotonic() [s]
    ends_epoch: bool
    evaluated: bool  # an evaluation follows it
    reported: bool  # a "train" event is due


@dataclass
class RunState:
    """State that the callbacks of a run share. Below the first five, which are fixed, each field has one writer, named
    next to it; callbacks behind the writer read it."""

    config: ExperimentConfig
    folder: Path
    data: ImageDataModule
    report: Report
    clock: RunClock
    step: Step | None = None  # StepTracker: the step that this micro-batch ended; None inside a step
    read: bool = False  # StepTracker: whether instruments read the step that is being made in full
    stop: signal.Signals | None = None  # SignalHandler: the signal that asked the run to stop
    gradient_norms_P: Tensor | None = None  # GradientNorms: of the step, by parameter, before clipping; None: not read
    images_per_second: float = 0.0  # ThroughputMonitor: smoothed, of the last windows [images/s]
    row_loss: float | None = None  # CurveLogger: the loss of the row that this step or evaluation adds, if any [nats]
    testing_seconds: float = 0.0  # TestLosses: spent on test losses along the run so far [s]
    probing_seconds: float = 0.0  # PhaseMeter: spent on losses around changes so far [s]
    saving_seconds: float = 0.0  # Checkpointer: spent on checkpoints so far [s]


class StepTracker(L.Callback):
    """Writes state.step after every micro-batch, and state.read for the step that follows."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self._loss, self._micro_batches = torch.tensor(0.0), 0  # of the step at hand, so far
        self._reported = time.monotonic()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._reported = time.monotonic()
        self.state.read = is_read(trainer.global_step)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        # Lightning has divided each micro-batch's loss by their number.
        self._loss = cast(Mapping[str, Tensor], outputs)["loss"].detach() + (self._loss if self._micro_batches else 0)
        self._micro_batches += 1
        if self._micro_batches < self.state.data.size_of(batch.shape).micro_batches:
            self.state.step = None
            return
        self._micro_batches = 0
        self.state.step = self._ended(trainer.global_step)
        self.state.read = is_read(self.state.step.number)

    def _ended(self, number: int) -> Step:
        config, data, now = self.state.config, self.state.data, time.monotonic()
        ends_epoch = number % data.steps_per_epoch == 0 or number == data.total_steps
        reported = self.state.stop is not None or ends_epoch or now - self._reported > REPORT_SECONDS
        if reported:
            self._reported = now
        return Step(
            number=number,
            loss=self._loss,
            lr=config.optim.peak_lr * lr_share(config, number - 1, data.total_steps),
            ended=now,
            ends_epoch=ends_epoch,
            evaluated=evaluation_steps.follows(number, config, data),
            reported=reported,
        )
