"""Ends a run whose training loss is NaN or infinite: every further step would cost time and teach nothing."""

import math

import lightning as L

from scaling.engine.callbacks.step import RunState, Step
from scaling.engine.distributed import AGREE_STEPS, over_devices
from scaling.errors import NonFiniteLossError


class NonFiniteGuard(L.Callback):
    """Raises NonFiniteLossError. On a GPU one step late, so that it never waits for the step in flight; where several
    devices share a run every AGREE_STEPS steps, on all of them together: one that left alone would let the others wait
    for it."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self._pending: Step | None = None  # on a GPU: not looked at yet

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        step = self.state.step
        if step is None:
            return
        if trainer.world_size > 1:
            if step.ends_epoch or step.number % AGREE_STEPS == 0:
                _check(step, over_devices(trainer, step.loss.item(), "mean"))
            return
        due, self._pending = (self._pending, step) if step.loss.is_cuda else (step, None)
        if due is not None:
            _check(due, due.loss.item())

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        last, self._pending = self._pending, None
        if last is not None:
            _check(last, last.loss.item())


def _check(step: Step, loss: float) -> None:
    if not math.isfinite(loss):
        raise NonFiniteLossError(step.number, step.lr, loss)
