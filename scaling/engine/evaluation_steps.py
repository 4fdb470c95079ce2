"""Evaluation during training: at the end of every eval_every-th epoch, but not at the end of the run, which has an
evaluation of its own; on the images that val_split holds out, or on the test images where it is 0."""

import lightning as L

from scaling.config.experiment import ExperimentConfig
from scaling.data.datamodule import ImageDataModule


def steps_between(config: ExperimentConfig, data: ImageDataModule) -> int:
    """Optimiser steps between two evaluations during training; 0: there is none."""
    every = (config.evaluation.val_interval or 0) * data.steps_per_epoch
    return every if every < data.total_steps else 0


def follows(step: int, config: ExperimentConfig, data: ImageDataModule) -> bool:
    """Whether an evaluation comes after optimiser step number `step` (from 1)."""
    every = steps_between(config, data)
    return every > 0 and step % every == 0 and step < data.total_steps


def of_held_out(results: dict[str, float]) -> dict[str, float]:
    """Rename results on the images that val_split holds out: val_loss, val_top1 …"""
    names = {"skipped_test_later": "skipped_val_later"}
    return {names.get(name, f"val_{name.removeprefix('test_')}"): value for name, value in results.items()}


class Evaluations(L.Callback):
    """Gives Lightning, which counts micro-batches, the interval of evaluations. Stands behind MicroBatch, which finds
    how many micro-batches a step has."""

    def __init__(self, config: ExperimentConfig, data: ImageDataModule) -> None:
        self.config, self.data = config, data

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if every := steps_between(self.config, self.data):
            trainer.val_check_interval = every * self.data.micro_batches

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if trainer.global_step >= self.data.total_steps:
            trainer.limit_val_batches = 0  # Lightning would evaluate here too where the interval divides the run
