"""Kinds of step shapes that this file adds: every other step has larger images, or smaller patches. Nothing in the
library is edited."""

import signal
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from scaling.config.edit import edit
from scaling.config.runtime import RuntimeConfig
from scaling.config.step_shapes import STEP_SHAPES, Course, Flops, StepShape
from scaling.data.datamodule import ImageDataModule
from scaling.engine.train import train
from scaling.errors import ConfigError, TrainingInterrupted
from scaling.tasks.classification import ClassificationTask

CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0, micro_batch_size=8)


@dataclass(frozen=True, kw_only=True)
class Alternating:
    """Steps 0, 2 … have the shape of the model; steps 1, 3 … have larger images and smaller patches."""

    kind: ClassVar[str] = "alternating"
    img_factor: int = 2
    patch_divisor: int = 1

    def shapes(self, model: StepShape) -> tuple[StepShape, ...]:
        return model, self._other(model)

    def at(self, seed: int, step: int, course: Course) -> StepShape:
        return self.shapes(course.model)[step % 2]

    def shares(self, model: StepShape, flops: Flops) -> dict[StepShape, float]:
        return dict.fromkeys(self.shapes(model), 0.5)

    def _other(self, model: StepShape) -> StepShape:
        return StepShape(model.patch_size // self.patch_divisor, model.img_size * self.img_factor)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(STEP_SHAPES, Alternating.kind, Alternating)


@pytest.fixture
def short(tiny):
    """Four steps of 16 images."""
    return edit(tiny, num_train=32, epochs=2, num_val=8)


DENSE = {"drop_path": 0.0, "pos_embed": "sincos"}
KINDS = {
    "classify, in memory": {"augment": "flip"},
    "classify, by views": {"augment": "resized_crop"},
    "segment": {"task": "segment", "num_classes": 4, "augment": "resize_crop", **DENSE},
    "detect": {"task": "detect", "head": "cascade_mask_rcnn", "img_size": 32, "augment": "lsj", **DENSE},
}


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_every_step_have_the_size_of_its_shape_and_test_images_that_of_the_model(short, kind):
    if kind == "detect":
        pytest.importorskip("pycocotools")
    data = ImageDataModule(edit(short, step_shapes=Alternating(), **KINDS[kind]))
    data.setup()
    data.micro_batches = 2
    side, batches = data.config.model.img_size, list(data.train_dataloader())
    assert [batch.shape.img_size for batch in batches] == 2 * [side, side, 2 * side, 2 * side]
    assert [tuple(batch.pixels.shape[2:]) for batch in batches] == [(b.shape.img_size,) * 2 for b in batches]
    assert {tuple(batch.pixels.shape[2:]) for batch in data.test_dataloader()} == {(side, side)}


def test_a_run_of_two_image_sizes_trains_and_an_interrupted_one_ends_with_the_same_weights(short, tmp_path):
    plain = train(short, tmp_path / "plain", CPU)
    short = edit(short, step_shapes=Alternating())
    whole = train(short, tmp_path / "whole", CPU)
    assert whole.test_loss != plain.test_loss

    def interrupt(event):
        if event.kind == "train" and event.progress.step == 2:  # an end of an epoch
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(TrainingInterrupted):
        train(short, tmp_path / "cut", CPU, interrupt)
    assert train(short, tmp_path / "cut", CPU).test_loss == whole.test_loss
    ours, theirs = (torch.load(tmp_path / name / short.run_id / "weights.pt") for name in ("whole", "cut"))
    assert all(torch.equal(ours["model"][name], theirs["model"][name]) for name in ours["model"])


class AnyPatch(nn.Module):
    """A backbone of averaged patches, at any patch size."""

    width, stride, depth, dynamic_img_size = 3, 8, 1, True
    mean = std = (0.5, 0.5, 0.5)

    def __init__(self):
        super().__init__()
        self.scale, self.seen = nn.Parameter(torch.ones(())), []

    def forward(self, image_BCHW, blocks=(), patch_size=None):
        self.seen.append((image_BCHW.shape[-1], patch_size or self.stride))
        tokens = nn.functional.avg_pool2d(image_BCHW, patch_size or self.stride).flatten(2).amax(2)
        pooled = self.scale * tokens
        return type("Features", (), {"pooled_ND": pooled})


def test_the_backbone_of_a_task_is_called_with_the_patch_size_of_every_step(short, monkeypatch):
    short = edit(short, step_shapes=Alternating(img_factor=1, patch_divisor=4))
    monkeypatch.setattr("scaling.tasks.base.build_with_head", lambda config: (AnyPatch(), {}))
    data = ImageDataModule(short)
    data.setup()
    task = ClassificationTask(short, data.total_steps)
    for batch in data.train_dataloader():
        task.training_step(batch, 0).backward()
    assert task.backbone.seen == 2 * [(16, 8), (16, 2)]


def test_sizes_that_do_not_fit_each_other_are_refused_when_their_step_comes(short, monkeypatch):
    @dataclass(frozen=True)
    class Odd:
        kind: ClassVar[str] = "odd"

        def shapes(self, model):
            return (model,)

        def at(self, seed, step, course):
            return course.model._replace(patch_size=5)

    monkeypatch.setitem(STEP_SHAPES, Odd.kind, Odd)
    data = ImageDataModule(edit(short, step_shapes=Odd()))
    data.setup()
    with pytest.raises(ConfigError, match="patch 5 does not divide a 16 px image"):
        next(iter(data.train_dataloader()))
