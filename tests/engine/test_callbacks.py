"""The callbacks of a run: their order, which is part of what they do, and checkpoints of before they were several."""

import ast
import csv
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from scaling.config.edit import edit
from scaling.data.generated import generated_shapes
from scaling.engine.callbacks.nonfinite_guard import NonFiniteGuard
from scaling.engine.callbacks.run_callbacks import run_callbacks
from scaling.engine.callbacks.step import Step
from scaling.engine.environment import Memory
from scaling.errors import NonFiniteLossError
from scaling.runs.record import CHECKPOINT, CURVE, WEIGHTS
from tests.conftest import ROOT
from tests.instrument_names import without_instruments
from tests.toy_task import run, toy_recipe, toy_runs

# Made by commit 3181e07, the last one with the callback Keeper: this run, stopped after its fourth step.
KEEPER = Path(__file__).parent / "data" / "keeper.ckpt"
RECIPE = toy_recipe(epochs=3, steps_per_epoch=3, eval_every=1)


@pytest.fixture
def toy():
    with toy_runs() as found:
        yield found


def rows(results):
    """The only run's curve without its seconds."""
    (curve,) = results.glob(f"*/{CURVE}")
    return [row[:5] for row in csv.reader(curve.read_text().splitlines())]


def test_a_checkpoint_of_the_callback_that_kept_everything_is_resumed_to_the_same_bits(
    toy, tmp_path, recwarn, monkeypatch
):
    monkeypatch.setattr(generated_shapes, "VERSION", 1)  # of the checkpoint's time
    recipe = edit(RECIPE, data_version=1)
    folder = tmp_path / "old" / recipe.run_id
    folder.mkdir(parents=True)
    shutil.copy(KEEPER, folder / CHECKPOINT)
    held = torch.load(KEEPER, weights_only=True)["callbacks"]["Keeper"]
    steps = []
    record = run(
        recipe, tmp_path / "old", report=lambda e: steps.append(e.progress.step) if e.kind == "train" else None
    )
    whole = run(recipe, tmp_path / "whole")
    assert steps[0] == 4
    assert record.test_loss == whole.test_loss
    # Instruments have read the steps of this version alone.
    assert without_instruments(record.metrics) == without_instruments(whole.metrics)
    assert rows(tmp_path / "old") == rows(tmp_path / "whole")
    assert (record.started, record.peak_memory >= held["peak_memory"]) == (held["started"], True)
    assert record.wall_time > held["seconds"]
    old, new = (
        torch.load(r / recipe.run_id / WEIGHTS, weights_only=True)["model"] for r in (folder.parent, tmp_path / "whole")
    )
    assert all(torch.equal(old[name], new[name]) for name in new)
    assert not [warning for warning in recwarn if "Keeper" in str(warning.message)]
    left = torch.load(folder / CHECKPOINT, weights_only=True)["callbacks"]
    assert left.keys() == {"RunCallbacks"}
    assert left["RunCallbacks"].keys() == {
        *("RunClock", "ThroughputMonitor", "CurveLogger"),
        *("GradientNorms", "GradientNoise", "UpdateRatio", "EmbeddingScale", "LossSpikes"),
    }


def test_the_counts_of_an_old_checkpoint_go_to_the_callbacks_that_have_them_now(callbacks):
    held = torch.load(KEEPER, weights_only=True)["callbacks"]["Keeper"] | {"skipped": {"skipped_later": 5.0}}
    checkpoint = {"callbacks": {"Keeper": held}}
    for callback in callbacks.for_lightning:  # as Lightning does
        callback.on_load_checkpoint(None, None, checkpoint)
    for callback in callbacks.for_lightning:
        if state := checkpoint["callbacks"].get(callback.state_key):
            callback.load_state_dict(state)
    assert callbacks.skipped.counts == {"skipped_later": 5.0}
    assert callbacks.curve.rows == held["rows"]
    assert callbacks.throughput.images_per_second == held["images"] / held["train_seconds"]
    assert callbacks.clock.started == held["started"]


@pytest.fixture
def callbacks(tmp_path):
    data = SimpleNamespace(total_steps=9, steps_per_epoch=3, epochs=3, micro_batches=1)
    return run_callbacks(RECIPE, tmp_path, data, 10.0, 8, None, lambda event: None, Memory(cuda=False))


def test_callbacks_are_called_in_the_order_that_they_need(callbacks):
    assert [type(callback).__name__ for callback in callbacks.ordered] == [
        "RunClock", "StepSeeder", "SignalHandler", "StepTracker", "NonFiniteGuard", "ThroughputMonitor",
        "ProgressReporter", "GradientNorms", "GradientNoise", "UpdateRatio", "EmbeddingScale", "LossSpikes",
        "CurveLogger", "PhaseMeter", "TestLosses", "RunLog", "SkippedImages", "PackingCounts",
        "Checkpointer",
    ]  # fmt: skip


def test_every_shared_field_has_one_writer_before_its_readers(callbacks):
    """Of RunState, by the source: `self.state.NAME = ...` is in one callback's file, and readers stand behind it."""
    written, read = {}, {}
    for place, callback in enumerate(callbacks.ordered):
        tree = ast.parse((ROOT / f"{type(callback).__module__.replace('.', '/')}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self.state":
                stored = isinstance(node.ctx, ast.Store)
                (written if stored else read).setdefault(node.attr, set()).add(place)
    lost = {"saving_seconds", "testing_seconds", "probing_seconds"}
    instruments = {"gradient_norms_P", "read"}
    assert written.keys() == {"step", "stop", "images_per_second", "row_loss"} | instruments | lost
    assert all(len(places) == 1 for places in written.values())
    for name, places in written.items():
        # Time lost before a step's end: its writers may follow.
        assert name in lost or min(places) <= min(read.get(name, {99}))


def step(number, loss=1.0, on_gpu=False, **changes):
    held = SimpleNamespace(item=lambda: loss, is_cuda=on_gpu)  # a tensor on a device
    facts = {"lr": 0.1, "ended": 0.0, "ends_epoch": False, "evaluated": False, "reported": False}
    return Step(number=number, loss=held, **{**facts, **changes})


ONE_DEVICE = SimpleNamespace(world_size=1)


def test_images_per_second_leaves_out_checkpoints_and_evaluations(callbacks, monkeypatch):
    monitor, state = callbacks.throughput, callbacks.throughput.state
    now = iter([100.0, 150.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    monitor.on_train_start(ONE_DEVICE, None)  # at 100 s
    for ended in (None, step(1, ended=104.0), step(2, ended=110.0, reported=True)):  # two micro-batches, two steps
        state.step = ended
        monitor.on_train_batch_end(ONE_DEVICE, None, None, range(4), 0)
        state.saving_seconds += 1.0  # behind each of them a checkpoint, of which two lie in the window
    assert monitor.images_per_second == pytest.approx(12 / 8)
    monitor.on_validation_end(ONE_DEVICE, None)  # at 150 s
    state.step = step(3, ended=152.0, reported=True)
    monitor.on_train_batch_end(ONE_DEVICE, None, None, range(4), 0)
    assert monitor.images_per_second == pytest.approx(16 / 10)
    assert state.images_per_second == pytest.approx(0.8 * 12 / 8 + 0.2 * 4 / 2)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_a_loss_that_is_not_finite_is_found_in_its_step_or_on_a_gpu_one_step_later(callbacks, on_gpu):
    (guard,) = (callback for callback in callbacks.ordered if isinstance(callback, NonFiniteGuard))

    def after(number, loss):
        guard.state.step = step(number, loss, on_gpu)
        guard.on_train_batch_end(ONE_DEVICE, None, None, None, 0)

    after(1, 0.5)
    if on_gpu:
        after(2, math.nan)
    with pytest.raises(NonFiniteLossError) as caught:
        after(3, 0.5) if on_gpu else after(2, math.nan)
    assert caught.value.facts == {"reason": "training loss is nan", "step": 2, "lr": 0.1}
    after(4, 0.5)
    if on_gpu:
        after(5, math.inf)  # the last step of the run
        with pytest.raises(NonFiniteLossError, match="inf at step 5"):
            guard.on_train_end(ONE_DEVICE, None)
    guard.on_train_end(ONE_DEVICE, None)
