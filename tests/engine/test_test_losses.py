"""Test losses along a run change nothing in it, and are what a slow evaluation of the same weights gives."""

import csv
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from experiments.recipes import shapes
from scaling.config.edit import edit
from scaling.data.datamodule import ImageDataModule
from scaling.engine.curve_steps import FEWEST, images_at_each, steps_of
from scaling.runs.record import CHECKPOINT, CURVE, WEIGHTS
from scaling.tasks.classification import ClassificationTask
from tests.toy_task import run

RECIPE = edit(
    shapes.deit_nano(16), num_train=1024, num_val=64, epochs=4, global_batch_size=64, drop_path=0.1, warmup_epochs=1.0
)
AVERAGED = edit(RECIPE, model_ema_decay=0.9, eval_weights="ema")


def curve_of(results, config):
    with open(results / config.run_id / CURVE) as file:
        return [
            (int(row["step"]), float(row["test_loss"]), row["test_images"], row["test_loss_se"], float(row["top1"]))
            for row in csv.DictReader(file)
            if row["test_loss"]
        ]


@given(st.integers(0, 12), st.integers(1, 100_000), st.integers(1, 10**7), st.integers(1, 50_000))
def test_steps_are_halvings_and_images_are_within_three_per_cent(points, total, seen, test_images):
    steps = steps_of(points, total)
    assert steps == sorted(set(steps))
    assert len(steps) <= max(0, points - 1)
    assert all(0 < step < total and any(abs(step - total / 2**k) <= 0.5 for k in range(1, 13)) for step in steps)
    count = images_at_each(points, seen, test_images)
    assert count == 0 or FEWEST <= count <= test_images
    assert len(steps) * count <= 0.03 * 3 * seen


def test_steps_of_a_run_of_128_steps_and_images_of_one_of_16384():
    assert steps_of(8, 128) == [1, 2, 4, 8, 16, 32, 64]
    assert images_at_each(8, 16384, 1024) == 184
    assert images_at_each(8, 1_000_000, 1024) == 1024
    assert images_at_each(0, 1_000_000, 1024) == images_at_each(8, 2000, 1024) == 0


@pytest.mark.parametrize("config", [RECIPE, AVERAGED], ids=["raw", "averaged"])
def test_a_run_has_the_same_bits_with_and_without_and_its_rows_are_those_of_a_resumed_one(
    config, tmp_path, monkeypatch
):
    monkeypatch.setattr("scaling.engine.callbacks.step.REPORT_SECONDS", 0.0)
    with_points = run(config, tmp_path / "with")
    without = run(config, tmp_path / "without", test_points=0)
    run(config, tmp_path / "cut", cut=16)
    halfway = torch.load(tmp_path / "cut" / config.run_id / CHECKPOINT, weights_only=True)
    resumed = run(config, tmp_path / "cut")
    assert with_points.test_loss == without.test_loss == resumed.test_loss
    assert with_points.metrics == without.metrics
    weights = [torch.load(tmp_path / r / config.run_id / WEIGHTS, weights_only=True) for r in ("with", "without")]
    for kind in weights[0]:
        assert all(torch.equal(weights[0][kind][name], weights[1][kind][name]) for name in weights[0][kind])

    rows = curve_of(tmp_path / "with", config)
    assert rows == curve_of(tmp_path / "cut", config)
    assert [row[0] for row in rows] == [1, 2, 4, 8, 16, 32, 64]
    assert rows[-1][1:] == (with_points.test_loss, "", "", with_points.metrics["top1"])
    assert {row[2] for row in rows[:-1]} == {"46"}
    assert curve_of(tmp_path / "without", config) == rows[-1:]
    mean, error, top1 = _slow(config, halfway)
    at_16 = next(row for row in rows if row[0] == 16)
    assert at_16[1] == pytest.approx(mean, rel=1e-4)
    assert float(at_16[3]) == pytest.approx(error, rel=1e-3)
    assert at_16[4] == pytest.approx(top1)


def _slow(config, checkpoint):
    """Mean loss, its standard error and top-1 over the sample by the reported weights of a checkpoint, image by
    image."""
    data = ImageDataModule(config)
    data.setup()
    task = ClassificationTask(config, data.total_steps, data.names)
    # Of an averaged run Lightning keeps the average as the state dict: it is what a checkpoint's user wants.
    task.load_state_dict(checkpoint["state_dict"], strict=False)
    task.eval()
    losses, correct = [], []
    with torch.no_grad():
        for batch in data.test_sample(46):
            for image, label in zip(batch.pixels, batch.targets.label_B, strict=True):
                logits_1K = task(image[None])
                losses.append(-logits_1K.log_softmax(1)[0, label].item())
                correct.append(int(logits_1K.argmax()) == label)
    return statistics.fmean(losses), statistics.stdev(losses) / len(losses) ** 0.5, 100 * statistics.fmean(correct)
