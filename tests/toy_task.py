"""A task of four weights on drawn images of one pixel: runs of real training loops that take a few hundredths of a
second."""

import signal
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import ClassVar

import lightning as L
import pytest
import torch
from torch import nn

from scaling.backbones.base import Backbone
from scaling.config.edit import make_config
from scaling.config.runtime import RuntimeConfig
from scaling.config.step_shapes import StepShape
from scaling.data.batch import Batch, ClassTargets
from scaling.engine.train import train
from scaling.errors import TrainingInterrupted


class Dots:
    """So many images, each a pixel that follows from its number."""

    in_memory, sizes, skipped = True, (), 0

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def get_batch(self, keys, shape=None, progress=0.0):
        image = torch.tensor([[k.image * 37 % 256, k.image * 101 % 256, k.epoch * 53 % 256] for k in keys])
        pixels = image.to(torch.uint8).view(-1, 3, 1, 1)
        return Batch(pixels, keys, StepShape(1, 1), ClassTargets(image.sum(1) % 2))


class DotSource:
    """Methods as in open_sets.Source."""

    names, channels = ("0", "1"), 3

    def check(self, config):
        pass

    def generate(self, config, part, indices, split):
        return Dots(len(indices))


class EmptyBackbone(Backbone):
    checkpoint_module = nn.Identity()


class Toy(L.LightningModule):
    """seen: what was done, in order: ("evaluate", optimiser steps so far) or ("test", ...)."""

    seen: ClassVar[list] = []
    channels_last, sharded, gradient_norms = False, False, None

    def __init__(self, config, total_steps, names=()):
        super().__init__()
        self.backbone, self.head = EmptyBackbone(3, 1, 0), nn.Linear(3, 1, dtype=torch.float64)
        self.config = config
        with torch.no_grad():
            self.head.weight.fill_(0.1)
            self.head.bias.zero_()

    @staticmethod
    def check_available(config):
        pass

    def loss(self, batch):
        return ((self.head(batch.pixels.flatten(1).double() / 255)[:, 0] - batch.targets.label_B) ** 2).mean()

    def training_step(self, batch, batch_idx):
        return self.loss(batch)

    def validation_step(self, batch, batch_idx):
        pass

    test_step = validation_step

    def on_validation_start(self):
        self.seen.append(("evaluate", self.trainer.global_step))

    def on_test_start(self):
        self.seen.append(("test", self.trainer.global_step))

    def compute_metrics(self):
        return {"test_loss": self.head.weight.square().sum().item()}

    def compute_metrics_by_patch(self):
        return {self.config.model.patch_size: self.compute_metrics()}

    def logged_pictures(self, batch):
        return []

    def configure_optimizers(self):
        return torch.optim.Adam(self.head.parameters(), lr=0.05)


@contextmanager
def toy_runs():
    """Inside, task classify is Toy, and a run can be cut after any step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("scaling.engine.train").engine.train.TASKS, "classify", Toy)
        patch.setitem(__import__("scaling.data.datamodule").data.datamodule.SOURCES, "classify", DotSource())
        patch.setattr("scaling.engine.callbacks.step.REPORT_SECONDS", 0.0)
        patch.setattr("scaling.runs.atomic_files.os.fsync", lambda handle: None)  # a disk's time
        Toy.seen = []
        yield SimpleNamespace(seen=Toy.seen)


def toy_recipe(*, epochs, steps_per_epoch, eval_every, batch=4, **changes):
    return make_config(
        img_size=1,
        patch_size=1,
        num_classes=2,
        epochs=epochs,
        val_interval=eval_every or None,
        global_batch_size=batch,
        warmup_epochs=0.0,
        max_grad_norm=None,
        num_train=batch * steps_per_epoch,
        num_val=2,
        **changes,
    )


def run(config, results, micro_batch=0, cut=0, by=signal.SIGINT, report=lambda event: None, **settings):
    """Train; cut: the optimiser step after which the signal `by` comes. Returns the record, None if it was stopped."""

    def cutting(event):
        report(event)
        if event.kind == "train" and cut and event.progress.step == cut:
            signal.raise_signal(by)

    wanted = RuntimeConfig(
        accelerator="cpu", threads=1, num_workers=0, micro_batch_size=micro_batch or None, **settings
    )
    with suppress(TrainingInterrupted):
        return train(config, results, wanted, cutting)
    return None
