"""Checkpoints of a run, and its clean stop: a run ends early only behind a step that has been saved."""

import time

import lightning as L

from scaling.engine.callbacks.step import RunState
from scaling.engine.distributed import AGREE_STEPS
from scaling.errors import TrainingInterrupted
from scaling.runs.record import CHECKPOINT


class Checkpointer(L.Callback):
    """Saves at every end of an epoch, at least every so many minutes, and where a signal asked the run to stop; then it
    raises TrainingInterrupted. Only at ends of steps; and where an evaluation follows, behind it: a resumed run would
    leave the evaluation out. Two generations are kept (scaling/engine/checkpoint_files.py)."""

    def __init__(self, state: RunState, minutes: float) -> None:
        self.state, self._seconds = state, 60 * minutes
        self._saved = time.monotonic()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._saved = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        step = self.state.step
        if step is not None and not step.evaluated:
            self._save_or_stop(trainer, step.ended, step.ends_epoch)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._save_or_stop(trainer, time.monotonic(), ends_epoch=True)

    def _save_or_stop(self, trainer: L.Trainer, now: float, ends_epoch: bool) -> None:
        stop, due = self.state.stop is not None, now - self._saved > self._seconds
        if trainer.world_size > 1:  # clocks differ and signals come at any time: what one process wants, all do
            if trainer.global_step % AGREE_STEPS and not ends_epoch:
                return
            stop, due = (trainer.strategy.reduce_boolean_decision(wish, all=False) for wish in (stop, due))
        if stop or ends_epoch or due:
            self._save(trainer)
        if stop:
            raise TrainingInterrupted(self.state.stop.name if self.state.stop else "another process was asked to")

    def _save(self, trainer: L.Trainer) -> None:
        began = time.monotonic()
        trainer.save_checkpoint(self.state.folder / CHECKPOINT)
        self._saved = time.monotonic()
        self.state.saving_seconds += self._saved - began

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, object]
    ) -> None:
        checkpoint["run_id"] = self.state.folder.name
