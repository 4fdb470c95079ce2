"""log.txt of a run: a line for every end of an epoch and every evaluation."""

from contextlib import suppress
from datetime import datetime

import lightning as L

from scaling.engine.callbacks.step import RunState
from scaling.runs.record import LOG


class RunLog(L.Callback):
    """Lines have the time, the step and the loss. A run is not stopped for a line that cannot be written."""

    def __init__(self, state: RunState) -> None:
        self.state = state

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if self.state.step is not None and self.state.step.ends_epoch:
            rate = self.state.images_per_second
            self._write(trainer, f"training loss {self.state.row_loss:.4f}, {rate:.0f} images/s")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        split = "held-out" if self.state.config.data.val_split else "test"
        self._write(trainer, f"{split} loss {self.state.row_loss:.4f}")

    def _write(self, trainer: L.Trainer, text: str) -> None:
        step, data = trainer.global_step, self.state.data
        epoch = f"epoch {step / data.steps_per_epoch:.4g} of {data.epochs}"
        line = f"{datetime.now().isoformat(' ', 'seconds')} {epoch}, step {step} of {data.total_steps}: {text}"
        if trainer.is_global_zero:
            with suppress(OSError), open(self.state.folder / LOG, "a") as f:
                f.write(line + "\n")
