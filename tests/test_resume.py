"""Runs that are cut up: into micro-batches, by an interruption, by kill -9. The numbers stay what they were."""

import multiprocessing
import os
import random
import signal
import time
from dataclasses import replace

import pytest
import torch

from scaling.averaging import Averaged
from scaling.record import CHECKPOINT, CURVE, WEIGHTS, RunRecord
from scaling.train import Settings, Stopped, train
from tests.pictures import write_classes
from tests.test_train import CPU, at_step, every_step  # noqa: F401  a fixture


@pytest.fixture
def full(tiny):
    """tiny with everything that has random numbers or a memory of its own."""
    return replace(
        tiny, batch=32, train_images=128, mixup=0.8, cutmix=1.0, erasing=0.25, repeats=2, ema=0.8, smoothing=0.1,
        augment="three_augment_simple", layer_decay=0.9,
    )  # fmt: skip


def losses(results, recipe):
    lines = (results / recipe.run_id / CURVE).read_text().splitlines()[1:]
    return [float(line.split(",")[3] or line.split(",")[4]) for line in lines]


def left(results, recipe):
    """The weights that a run left, raw and averaged."""
    return torch.load(results / recipe.run_id / WEIGHTS, weights_only=True)


def assert_same(a, b, **tolerance):
    assert a.keys() == b.keys() == {"model", "model_ema"}
    for kind in a:
        for name in a[kind]:
            torch.testing.assert_close(a[kind][name], b[kind][name], **tolerance)


@pytest.mark.parametrize("backbone", ["deit_nano", "adventurer_nano"])
def test_the_loss_curve_does_not_depend_on_the_micro_batch(tmp_path, full, backbone):
    recipe = replace(full, backbone=backbone)
    for size in (32, 8, 4):
        train(recipe, tmp_path / str(size), replace(CPU, micro_batch=size))
    whole = losses(tmp_path / "32", recipe)
    assert len(whole) == 13
    for size in (8, 4):
        assert losses(tmp_path / str(size), recipe) == pytest.approx(whole, rel=2e-5)
        assert_same(left(tmp_path / str(size), recipe), left(tmp_path / "32", recipe), atol=2e-4, rtol=1e-3)


def test_mixing_changes_the_loss(tmp_path, full):
    plain = replace(full, mixup=0.0, cutmix=0.0)
    a, b = (train(r, tmp_path, CPU).metrics["train_loss"] for r in (full, plain))
    assert abs(a - b) > 1e-3


def test_the_average_is_that_of_the_weights_after_every_step(tmp_path, full, monkeypatch):
    seen = []
    before = Averaged.on_train_batch_end

    def watched(self, trainer, pl_module, *rest):
        steps = trainer.global_step
        before(self, trainer, pl_module, *rest)
        if steps > len(seen):
            seen.append(pl_module.head.weight.detach().clone())

    monkeypatch.setattr(Averaged, "on_train_batch_end", watched)
    record = train(full, tmp_path, replace(CPU, micro_batch=16))
    average = seen[0]
    for weight in seen[1:]:
        average = full.ema * average + (1 - full.ema) * weight
    state = left(tmp_path, full)
    torch.testing.assert_close(state["model_ema"]["head.weight"], average)
    torch.testing.assert_close(state["model"]["head.weight"], seen[-1])
    raw, averaged = record.metrics["test_loss_raw"], record.metrics["test_loss_averaged"]
    assert record.test_loss == raw != averaged


@pytest.mark.parametrize("step", [2, 5])
def test_a_run_goes_on_with_another_micro_batch(tmp_path, full, every_step, step):  # noqa: F811
    train(full, tmp_path / "whole", CPU)
    cut = at_step(step, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(Stopped):
        train(full, tmp_path / "cut", replace(CPU, micro_batch=16), cut)
    train(full, tmp_path / "cut", replace(CPU, micro_batch=4))
    assert losses(tmp_path / "cut", full) == pytest.approx(losses(tmp_path / "whole", full), rel=2e-5)
    assert_same(left(tmp_path / "cut", full), left(tmp_path / "whole", full), atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("step", [1, 6])
def test_cut_in_an_epoch_with_workers_repeats_and_an_average_it_ends_the_same(tmp_path, full, every_step, step):  # noqa: F811
    write_classes(tmp_path / "data", ["bird", "cat", "dog"], train=20, test=6)
    recipe = replace(
        full, data="folder", data_root=str(tmp_path / "data"), classes=3, batch=16, train_images=0, test_images=0,
        augment="three_augment", image=16,
    )  # fmt: skip
    settings = replace(CPU, workers=1)
    train(recipe, tmp_path / "whole", settings)
    with pytest.raises(Stopped):
        train(recipe, tmp_path / "cut", settings, at_step(step, lambda: signal.raise_signal(signal.SIGTERM)))
    train(recipe, tmp_path / "cut", settings)
    assert_same(left(tmp_path / "cut", recipe), left(tmp_path / "whole", recipe), atol=0, rtol=0)


def _train_in_child(recipe, results, minutes):
    torch.set_num_threads(1)
    train(recipe, results, Settings(accelerator="cpu", threads=1, workers=0, checkpoint_minutes=minutes))


def test_killed_at_twenty_moments_it_resumes_every_time_and_ends_the_same(tmp_path, full):
    recipe = replace(full, epochs=20, train_images=256)  # 160 steps
    train(recipe, tmp_path / "whole", CPU)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["scaling.train"])
    moments, folder = random.Random(0), tmp_path / "cut" / recipe.run_id
    saved = kills = 0
    while kills < 20:
        child = context.Process(target=_train_in_child, args=(recipe, tmp_path / "cut", 0.0))
        child.start()
        started = time.monotonic()
        while not (folder / ".lock").exists() and time.monotonic() - started < 60:
            time.sleep(0.01)
        child.join(moments.uniform(0.0, 1.5))
        if child.exitcode == 0:  # done before the twentieth kill
            break
        assert child.exitcode is None, "a resumed run failed"
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        kills += 1
        if (folder / CHECKPOINT).exists():
            at = torch.load(folder / CHECKPOINT, weights_only=True)["global_step"]
            assert at >= saved  # nothing that was saved is lost
            saved = at
    assert kills >= 3
    record = train(recipe, tmp_path / "cut", CPU)
    assert record == RunRecord.load(folder)
    assert_same(left(tmp_path / "cut", recipe), left(tmp_path / "whole", recipe), atol=0, rtol=0)
    assert losses(tmp_path / "cut", recipe) == losses(tmp_path / "whole", recipe)
