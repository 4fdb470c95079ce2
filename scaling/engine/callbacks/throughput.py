"""Training throughput and peak memory of a run, over all of its processes."""

import time

import lightning as L

from scaling.data.batch import Batch
from scaling.engine.callbacks.step import RunState
from scaling.engine.environment import Memory


class ThroughputMonitor(L.Callback):
    """Counts images and the seconds in which they were trained on; checkpoints and evaluations are left out. Time is
    counted in windows that end where an event is reported."""

    def __init__(self, state: RunState, memory: Memory) -> None:
        self.state, self.memory = state, memory
        self._images, self._train_seconds, self._earlier_peak = 0, 0.0, 0
        self._window_images = 0
        self._open_window(time.monotonic())

    def _open_window(self, now: float) -> None:
        self._window_start, self._other_before = now, self._other_seconds()

    def _other_seconds(self) -> float:
        """Spent on checkpoints, on test losses along the run and on probes so far [s]."""
        return self.state.saving_seconds + self.state.testing_seconds + self.state.probing_seconds

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._open_window(time.monotonic())

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        self._window_images += len(batch) * trainer.world_size
        step = self.state.step
        if step is None or not step.reported:
            return
        spent = step.ended - self._window_start - (self._other_seconds() - self._other_before)
        rate, before = self._window_images / spent, self.state.images_per_second
        self.state.images_per_second = 0.8 * before + 0.2 * rate if before else rate
        self._train_seconds += spent
        self._images += self._window_images
        self._window_images = 0
        self._open_window(step.ended)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._open_window(time.monotonic())  # an evaluation follows the end of an epoch, where a window has ended

    @property
    def images_per_second(self) -> float:
        """[images/s]"""
        return self._images / self._train_seconds if self._train_seconds else 0.0

    @property
    def peak_memory(self) -> int:
        """Above what was held before there was a model [bytes]."""
        return max(self._earlier_peak, self.memory.peak())

    def state_dict(self) -> dict[str, float]:
        return {"train_seconds": self._train_seconds, "images": self._images, "peak_memory": self.peak_memory}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self._train_seconds, self._images = state_dict["train_seconds"], int(state_dict["images"])
        self._earlier_peak = int(state_dict["peak_memory"])
