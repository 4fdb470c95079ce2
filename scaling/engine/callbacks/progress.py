"""Events for whoever watches a run: how far it is, its loss, its speed, and the time that is left."""

import math

import lightning as L

from scaling.engine.callbacks.step import RunState
from scaling.runs.events import Event, Progress


class ProgressReporter(L.Callback):
    """Reports a "train" event at the start of training and after every step for which one is due."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self._loss = math.nan  # of the last step that was reported

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.state.report(Event("train", self.progress(trainer)))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        step = self.state.step
        if step is not None and step.reported:
            self._loss = step.loss.item()
            self.state.report(Event("train", self.progress(trainer)))

    def progress(self, trainer: L.Trainer) -> Progress:
        """The progress of the run."""
        data, rate, step = self.state.data, self.state.images_per_second, trainer.global_step
        return Progress(
            epoch=min(data.epochs, step // data.steps_per_epoch + 1),
            epochs=data.epochs,
            step=step,
            steps=data.total_steps,
            loss=self._loss,
            images_per_second=rate,
            eta=(data.total_steps - step) * self.state.config.optim.global_batch_size / rate if rate else math.nan,
        )
