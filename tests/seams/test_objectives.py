"""An objective that this file adds: an imitation loss. Nothing in the library is edited."""

import csv
import signal
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from scaling.config.edit import edit
from scaling.config.objectives import OBJECTIVES, Supervised
from scaling.config.runtime import RuntimeConfig
from scaling.data.datamodule import ImageDataModule
from scaling.engine.train import TASKS, train
from scaling.errors import TrainingInterrupted
from scaling.rng import seed_of, seeded
from scaling.tasks.objectives import BUILDERS

CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0, micro_batch_size=8)
DENSE = {"drop_path": 0.0, "pos_embed": "sincos"}
KINDS = {
    "classify": {"mixup": 0.8, "cutmix": 1.0},
    "segment": {"task": "segment", "num_classes": 4, **DENSE},
    "detect": {
        "task": "detect",
        "head": "cascade_mask_rcnn",
        "head_channels": 8,
        "img_size": 64,
        "augment": "flip",
        **DENSE,
    },
}


@dataclass(frozen=True, kw_only=True)
class Imitation:
    kind: ClassVar[str] = "imitation"
    weight: float = 0.25


class Imitate:
    """The pooled features are to be those of a fixed linear teacher of the very pixels that the backbone was given."""

    def __init__(self, config, task):
        self.weight = config.weight
        with seeded(seed_of(task.config.seed, "teacher")):
            teacher = nn.Linear(3, task.backbone.width).requires_grad_(False)
        self.models = (teacher,)  # a tuple: no submodule of the task
        self.pixels = []

    def loss(self, task, batch, features, outputs):
        self.pixels.append(batch.pixels)
        pooled = features.pooled_ND
        return nn.functional.mse_loss(pooled, self.models[0](batch.pixels.mean((2, 3))))


@pytest.fixture
def both(monkeypatch):
    """The objectives of the library and of this file."""
    monkeypatch.setitem(OBJECTIVES, Imitation.kind, Imitation)
    monkeypatch.setitem(BUILDERS, Imitation.kind, Imitate)
    return Supervised(), Imitation()


def batch_of(config):
    data = ImageDataModule(config)
    data.setup()
    return next(iter(data.train_dataloader()))


@pytest.mark.parametrize("kind", KINDS)
def test_the_training_loss_is_the_weighted_sum_and_the_terms_are_kept(tiny, both, kind):
    if kind != "classify":
        pytest.importorskip("mmseg")
    config = edit(tiny, num_train=4, global_batch_size=4, num_val=2, **KINDS[kind])
    batch = batch_of(config)
    alone = TASKS[config.task.kind](config, 10).training_step(batch, 0)
    task = TASKS[config.task.kind](edit(config, objectives=both), 10)
    loss = task.training_step(batch, 0)
    terms = task.objective_losses
    assert list(terms) == ["supervised", "imitation"]
    assert torch.equal(terms["supervised"], alone)
    assert loss.item() == pytest.approx(alone.item() + 0.25 * terms["imitation"].item(), rel=1e-6)
    assert terms["imitation"] > 0
    (seen,) = task.objectives["imitation"].pixels
    assert seen.dtype == torch.float32  # normalised, and mixed where the recipe mixes
    assert torch.equal(seen, task.normalised(batch.pixels)) == (kind != "classify")
    loss.backward()
    names = {name for name, _ in task.named_parameters()}
    assert not any("teacher" in name or "models" in name for name in names)


def rows(results, config):
    with open(results / config.run_id / "curve.csv") as f:
        return [row for row in csv.DictReader(f) if row["train_loss"]]


def test_a_run_with_two_objectives_logs_each_and_resumes_exactly(tiny, both, tmp_path):
    config = edit(tiny, num_train=32, epochs=2, objectives=both)
    record = train(config, tmp_path / "whole", CPU)
    assert record.status == "finished"
    logged = rows(tmp_path / "whole", config)
    for row in logged:
        terms = float(row["train_loss_supervised"]), float(row["train_loss_imitation"])
        assert float(row["train_loss"]) == pytest.approx(terms[0] + 0.25 * terms[1], rel=1e-5)
    assert len(logged) == 4

    def interrupt(event):
        if event.kind == "train" and event.progress.step == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(TrainingInterrupted):
        train(config, tmp_path / "cut", CPU, interrupt)
    assert train(config, tmp_path / "cut", CPU).test_loss == record.test_loss


def test_with_one_objective_nothing_is_logged_beside_the_loss(tiny, trained):
    assert not [name for name in rows(trained(tiny), tiny)[0] if name.startswith("train_loss_")]
