"""Test losses, with the first metric, at geometric steps of a run (scaling/engine/curve_steps.py), as rows of
curve.csv."""

import math
import time

import lightning as L
import torch
from lightning.fabric.utilities.apply_func import move_data_to_device

from scaling.engine import evaluation_steps
from scaling.engine.callbacks.curve_logger import CurveLogger
from scaling.engine.callbacks.step import RunState
from scaling.engine.curve_steps import images_at_each, steps_of
from scaling.engine.distributed import over_devices
from scaling.engine.ema import Averaged
from scaling.runs.record import HEADLINES
from scaling.tasks.base import TaskModule
from scaling.tasks.sharded_passes import keep_in_step


class TestLosses(L.Callback):
    """Evaluates a fixed sample of the test images and gives the curve its row. It leaves training as it was: no random
    number is drawn, no state of a metric or a normalisation changes, and averaged weights are put back.

    Classification only: segmentation evaluates whole images, which may cost many times a training crop, and the loss
    of detection needs targets that its evaluation does not make.

    points: in a run, the evaluation at its end included; 0: none. averaged: where the averaged weights are those
    reported."""

    __test__ = False  # for pytest: not a class of tests

    def __init__(self, state: RunState, curve: CurveLogger, points: int, averaged: Averaged | None) -> None:
        self.state, self.curve, self.averaged = state, curve, averaged
        self.points = points if state.config.task.kind == "classify" else 0

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        config, data = self.state.config, self.state.data
        seen = data.total_steps * config.optim.global_batch_size
        self._count = images_at_each(self.points, seen, len(data.test_set)) if self.points else 0
        self._steps = set(steps_of(self.points, data.total_steps)) if self._count else set()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        step = self.state.step
        if step is None or step.number not in self._steps:
            return
        if evaluation_steps.follows(step.number, self.state.config, self.state.data) and not self._held_out:
            return  # on all test images
        assert isinstance(pl_module, TaskModule)
        begun = time.monotonic()
        if self.averaged is not None:
            self.averaged.swap(pl_module)
        modes = [(module, module.training) for module in pl_module.modules()]
        pl_module.eval()
        try:
            means, error = self._evaluate(trainer, pl_module)
        finally:
            for module, training in modes:
                module.training = training
            if self.averaged is not None:
                self.averaged.swap(pl_module)
        self.curve.add_test_loss(step.number, means, self._count, error)
        self.state.testing_seconds += time.monotonic() - begun

    @property
    def _held_out(self) -> bool:
        return self.state.data.held_out is not None

    def _evaluate(self, trainer: L.Trainer, task: TaskModule) -> tuple[dict[str, float], float]:
        """Means of the loss [nats] and of the first metric [%], and the standard error of the loss, over the images of
        all devices."""
        metric, _ = HEADLINES[task.config.task.kind]
        count, squares = 0.0, 0.0
        totals = {"test_loss": 0.0, metric: 0.0}
        # Not inference_mode: a tensor that a module caches there could not be used in training.
        with torch.no_grad(), trainer.precision_plugin.val_step_context():
            for batch in self.state.data.test_sample(self._count):
                keep_in_step(task, min(1, len(batch)))
                if len(batch):
                    scores = task.image_scores(move_data_to_device(batch, task.device))
                    count += len(batch)
                    squares += scores["test_loss"].double().square().sum().item()
                    for name in totals:
                        totals[name] += scores[name].double().sum().item()
        count, squares = (over_devices(trainer, value, "sum") for value in (count, squares))
        means = {name: over_devices(trainer, total, "sum") / count for name, total in totals.items()}
        variance = max(0.0, squares - count * means["test_loss"] ** 2) / (count - 1)
        return means, math.sqrt(variance / count)
