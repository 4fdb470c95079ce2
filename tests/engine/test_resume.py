"""Runs that are cut up: into micro-batches, by an interruption, by kill -9. The numbers stay what they were.

To the last bit where the same is done again; where sums are formed in another order, to 1e-9 in float64
(tests/doubles.py)."""

import math
import os
import random
import signal
import sys
from dataclasses import replace

import pytest
import torch

from scaling.config.edit import edit
from scaling.engine.ema import Averaged
from scaling.engine.train import train
from scaling.errors import TrainingInterrupted
from scaling.runs.identity import folder_of
from scaling.runs.record import CHECKPOINT, CURVE, WEIGHTS, RunRecord
from tests.conftest import TINY
from tests.engine.test_train import CPU, at_step, every_step  # noqa: F401  a fixture
from tests.pictures import write_classes
from tests.served import context


@pytest.fixture
def full(tiny):
    """tiny with everything that has random numbers or a memory of its own."""
    return edit(
        tiny,
        global_batch_size=32,
        num_train=128,
        mixup=0.8,
        cutmix=1.0,
        random_erasing_prob=0.25,
        aug_repeats=2,
        model_ema_decay=0.8,
        smoothing=0.1,
        augment="three_augment_simple",
        layer_decay=0.9,
    )


def losses(results, config):
    lines = (results / config.run_id / CURVE).read_text().splitlines()[1:]
    return [float(line.split(",")[3] or line.split(",")[4]) for line in lines]


def left(results, config):
    """The weights that a run left, raw and averaged."""
    return torch.load(folder_of(config, results) / WEIGHTS, weights_only=True)


def assert_same(a, b, **tolerance):
    assert a.keys() == b.keys() == {"model", "model_ema"}
    for kind in a:
        for name in a[kind]:
            torch.testing.assert_close(a[kind][name], b[kind][name], **tolerance)


def assert_same_in_doubles(cut, whole, config):
    assert losses(cut, config) == pytest.approx(losses(whole, config), rel=1e-9)
    assert_same(left(cut, config), left(whole, config), atol=1e-9, rtol=1e-6)


@pytest.fixture(scope="module")
def whole_in_doubles(tmp_path_factory):
    """The results of runs of the largest micro-batch in float64, each trained once."""
    done = {}

    def results_of(config):
        if config not in done:
            done[config] = tmp_path_factory.mktemp("whole")
            train(config, done[config], replace(CPU, micro_batch_size=config.optim.global_batch_size))
        return done[config]

    return results_of


@pytest.mark.parametrize(("backbone", "size"), [("deit_nano", 4), ("adventurer_nano", 8)])
def test_the_loss_curve_does_not_depend_on_the_micro_batch(tmp_path, full, doubles, whole_in_doubles, backbone, size):
    config = edit(full, backbone=backbone)
    whole = whole_in_doubles(config)
    assert len(losses(whole, config)) == 13
    train(config, tmp_path, replace(CPU, micro_batch_size=size))
    assert_same_in_doubles(tmp_path, whole, config)


def test_mixing_changes_the_loss(trained, full):
    mixed, plain = (losses(trained(r), r)[0] for r in (full, edit(full, mixup=0.0, cutmix=0.0)))
    assert abs(mixed - plain) > 1e-3  # of the first step, from the same weights


def test_the_average_is_that_of_the_weights_after_every_step(tmp_path, full, monkeypatch):
    seen = []
    before = Averaged.on_train_batch_end

    def watched(self, trainer, pl_module, *rest):
        steps = trainer.global_step
        before(self, trainer, pl_module, *rest)
        if steps > len(seen):
            seen.append(pl_module.head.weight.detach().clone())

    monkeypatch.setattr(Averaged, "on_train_batch_end", watched)
    record = train(full, tmp_path, replace(CPU, micro_batch_size=16))
    average = seen[0]
    for weight in seen[1:]:
        average = (full.optim.model_ema_decay or 0.0) * average + (1 - (full.optim.model_ema_decay or 0.0)) * weight
    state = left(tmp_path, full)
    torch.testing.assert_close(state["model_ema"]["head.weight"], average)
    torch.testing.assert_close(state["model"]["head.weight"], seen[-1])
    raw, averaged = record.metrics["test_loss_raw"], record.metrics["test_loss_averaged"]
    assert record.test_loss == raw != averaged


@pytest.mark.parametrize("step", [2, 5])
def test_a_run_goes_on_with_another_micro_batch(tmp_path, full, every_step, doubles, whole_in_doubles, step):  # noqa: F811
    cut = at_step(step, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(TrainingInterrupted):
        train(full, tmp_path, replace(CPU, micro_batch_size=16), cut)
    train(full, tmp_path, replace(CPU, micro_batch_size=4))
    assert_same_in_doubles(tmp_path, whole_in_doubles(full), full)


WITH_A_WORKER = replace(CPU, num_workers=1)


@pytest.fixture(scope="module")
def of_files(tmp_path_factory):
    """A recipe like full on files of images, and the results folder of its run in one go."""
    folder = tmp_path_factory.mktemp("of_files")
    write_classes(folder / "data", ["bird", "cat", "dog"], train=20, test=6)
    config = edit(
        TINY,
        mixup=0.8,
        cutmix=1.0,
        random_erasing_prob=0.25,
        aug_repeats=2,
        model_ema_decay=0.8,
        smoothing=0.1,
        layer_decay=0.9,
        dataset="folder",
        data_root=str(folder / "data"),
        num_classes=3,
        global_batch_size=16,
        num_train=None,
        num_val=None,
        augment="three_augment",
        img_size=16,
    )
    train(config, folder / "whole", WITH_A_WORKER)
    return config, folder / "whole"


@pytest.mark.parametrize("step", [1, 6])
def test_cut_in_an_epoch_with_workers_repeats_and_an_average_it_ends_the_same(tmp_path, of_files, every_step, step):  # noqa: F811
    config, whole = of_files
    with pytest.raises(TrainingInterrupted):
        train(config, tmp_path, WITH_A_WORKER, at_step(step, lambda: signal.raise_signal(signal.SIGTERM)))
    train(config, tmp_path, WITH_A_WORKER)
    assert_same(left(tmp_path, config), left(whole, config), atol=0, rtol=0)


def _train_until(config, results, calls):
    """With a checkpoint after every step; dead at once, as by kill -9, after so many calls of functions. They are
    counted, not timed: so a machine's speed decides nothing. Returns how many there were."""
    torch.set_num_threads(1)
    seen = 0

    def count(frame, event, called):
        nonlocal seen
        seen += 1
        if seen > calls:
            os.kill(os.getpid(), signal.SIGKILL)

    def begin(event):
        if event.kind == "open":
            sys.setprofile(count)

    try:
        train(config, results, replace(CPU, checkpoint_minutes=0.0), begin)
    finally:
        sys.setprofile(None)
    return seen


def test_killed_at_many_moments_it_resumes_every_time_and_ends_the_same(tmp_path, full):
    config = edit(full, epochs=5)  # 20 steps
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    calls = _train_until(config, whole, math.inf)
    moments, folder = random.Random(0), cut / config.run_id
    saved = kills = 0
    while True:
        child = context().Process(target=_train_until, args=(config, cut, calls * moments.uniform(0.1, 0.33)))
        child.start()
        child.join(120)
        assert child.exitcode in (0, -signal.SIGKILL), "a resumed run failed"
        if child.exitcode == 0:
            break
        kills += 1
        if (folder / CHECKPOINT).exists():
            at = torch.load(folder / CHECKPOINT, weights_only=True)["global_step"]
            assert at >= saved  # nothing that was saved is lost
            saved = at
    assert kills >= 3
    assert train(config, cut, CPU) == RunRecord.load(folder)
    assert_same(left(cut, config), left(whole, config), atol=0, rtol=0)
    assert losses(cut, config) == losses(whole, config)
