"""Signals while a run is trained: they are remembered, and `Checkpointer` stops the run at the end of the step."""

import signal

import lightning as L

from scaling.engine.callbacks.step import RunState
from scaling.runs.stop_signals import Handler, catch, release


class SignalHandler(L.Callback):
    """Writes state.stop. The handlers before are put back when training ends, however it ends."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self._handlers: dict[signal.Signals, Handler] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._handlers = catch(self._ask_to_stop)

    def _ask_to_stop(self, wanted: signal.Signals) -> None:
        self.state.stop = wanted

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        release(self._handlers)
        self._handlers = {}

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.on_train_end(trainer, pl_module)
