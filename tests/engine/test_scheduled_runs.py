"""Runs whose schedules change patch size, image side, crop and batch: resumed within a phase and at a change to the
same bits, alike for any number of micro-batches and devices, and recorded phase by phase."""

import math
import signal
from dataclasses import asdict

import pytest
import torch

from scaling.config.edit import edit
from scaling.config.runtime import RuntimeConfig
from scaling.data.datamodule import ImageDataModule
from scaling.engine.callbacks.phases import spike_of
from scaling.engine.micro_batch import MicroBatch
from scaling.engine.train import train
from scaling.errors import ConfigError, TrainingInterrupted
from scaling.runs.phases import KINDS, check_phases
from scaling.runs.record import RunRecord
from scaling.tasks.optim import lr_share
from tests.engine.test_train import at_step

CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0)
SEGMENT = {"task": "segment", "num_classes": 4, "augment": "flip"}
PATCH = {"patch_schedule": "8@0.5,4@0.25,2@0.25", "patch_size": 2}  # changes after steps 6 and 9 of 12
IMAGE = {"image_schedule": "8@0.5,16@0.5", "patch_embed": "conv", "pos_embed": "learned"}
ALL = {"patch_schedule": "8@0.5,4@0.5", "crop_schedule": "0.5@0.25,1@0.75", "batch_in": "tokens"}
CROP = {"crop_schedule": "0.5@0.5,1@0.5", "cycles": 2, "patch_embed": "conv"}


@pytest.fixture
def base(tiny):
    """12 steps of 16 images, epochs of 4 steps."""
    return edit(tiny, patch_size=4, patch_embed="flexible", pos_embed="sincos", num_val=8)


def weights_of(folder):
    return torch.load(folder / "weights.pt")["model"]


def without_seconds(record):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in record.phases]


@pytest.mark.parametrize("step", [4, 6], ids=["within a phase", "at a change"])
@pytest.mark.parametrize("fields", [PATCH, ALL], ids=["patch", "patch, crop and tokens"])
def test_an_interrupted_run_ends_with_the_same_bits_and_phases(base, fields, step, tmp_path):
    config = edit(base, epochs=3, **fields)
    record = train(config, tmp_path / "whole", CPU)
    with pytest.raises(TrainingInterrupted):
        train(config, tmp_path / "cut", CPU, at_step(step, lambda: signal.raise_signal(signal.SIGINT)))
    resumed = train(config, tmp_path / "cut", CPU)
    assert resumed.evaluations == record.evaluations
    assert without_seconds(resumed) == without_seconds(record)
    whole, cut = (weights_of(tmp_path / name / config.run_id) for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


@pytest.mark.parametrize("fields", [IMAGE, CROP, CROP | SEGMENT], ids=["image", "crop", "crop, segment"])
def test_images_and_crops_have_the_side_of_their_phase(base, fields):
    data = ImageDataModule(edit(base, **fields))
    data.setup()
    batches = list(data.train_dataloader())
    sides = [batch.pixels.shape[-1] for batch in batches]
    assert sides == ([8] * 6 + [16] * 6 if "image_schedule" in fields else ([8] * 3 + [16] * 3) * 2)
    assert [batch.shape.img_size for batch in batches] == sides
    assert {batch.pixels.shape[-1] for batch in data.test_dataloader()} == {16}


def test_a_crop_is_a_part_of_the_whole_training_image_and_its_labels_follow(base):
    config = edit(base, **CROP, **SEGMENT)
    data, plain = ImageDataModule(config), ImageDataModule(edit(config, step_shapes="fixed"))
    for one in (data, plain):
        one.setup()
    corners = set()
    for cropped, whole in list(zip(data.train_dataloader(), plain.train_dataloader(), strict=True))[:3]:
        assert cropped.keys == whole.keys
        for small, large, labels, all_labels in zip(
            cropped.pixels, whole.pixels, cropped.targets.label_BHW, whole.targets.label_BHW, strict=True
        ):
            found = [
                (y, x) for y in range(9) for x in range(9) if torch.equal(small, large[:, y : y + 8, x : x + 8])
            ]  # fmt: skip
            assert found
            assert any(torch.equal(labels, all_labels[y : y + 8, x : x + 8]) for y, x in found)
            corners.update(found[:1])
    assert len(corners) > 20  # of 81


def test_steps_of_equal_tokens_take_the_next_images_of_one_sequence(base):
    config = edit(base, patch_schedule="8@0.5,4@0.5", batch_in="tokens", num_train=100)  # 6 steps of 16 in an epoch
    data, plain = ImageDataModule(config), ImageDataModule(edit(base, num_train=100))
    for one in (data, plain):
        one.setup()
    batches = list(data.train_dataloader())
    assert [len(batch) for batch in batches] == [64] * 9 + [16] * 9
    seen = [key for batch in batches for key in batch.keys]
    assert len(set(seen)) == len(seen)
    expected = [key for batch in plain.train_dataloader() for key in batch.keys]
    assert seen[: len(expected)] == expected  # in the order of any other run
    assert all(len({key.image for key in seen if key.epoch == epoch}) == 96 for epoch in range(7))


def test_each_phase_has_a_micro_batch_of_its_own_and_numbers_are_those_of_whole_batches(
    base, doubles, tmp_path, monkeypatch
):
    """Of steps of one shape the batch is one micro-batch, of those of another two or three."""
    config = edit(
        base, drop_path=0.0, precision="32", global_batch_size=12, num_train=48, epochs=2, val_interval=1, **PATCH
    )
    whole = train(config, tmp_path / "whole", CPU)
    sizes = {8: 12, 4: 6, 2: 4}
    monkeypatch.setattr(MicroBatch, "_found", lambda self, possible, trainer, task, shape: sizes[shape.patch_size])
    seen = []
    before = MicroBatch.on_train_batch_start

    def watched(self, trainer, pl_module, batch, batch_idx):
        before(self, trainer, pl_module, batch, batch_idx)
        seen.append((trainer.global_step, len(batch), trainer.accumulate_grad_batches))

    monkeypatch.setattr(MicroBatch, "on_train_batch_start", watched)
    cut = train(config, tmp_path / "cut", CPU)
    patches = [8] * 4 + [4] * 2 + [2] * 2
    numbers = {patch: 12 // size for patch, size in sizes.items()}
    assert seen == [(k, sizes[p], numbers[p]) for k, p in enumerate(patches) for _ in range(numbers[p])]
    assert cut.test_loss == pytest.approx(whole.test_loss, rel=1e-9)
    assert cut.metrics["train_loss"] == pytest.approx(whole.metrics["train_loss"], rel=1e-9)
    curves = [(tmp_path / name / config.run_id / "curve.csv").read_text().splitlines() for name in ("whole", "cut")]
    assert [row.split(",")[0] for row in curves[0]] == [row.split(",")[0] for row in curves[1]]  # and evaluations

    with pytest.raises(TrainingInterrupted):
        train(config, tmp_path / "resumed", CPU, at_step(5, lambda: signal.raise_signal(signal.SIGINT)))
    assert train(config, tmp_path / "resumed", CPU).test_loss == cut.test_loss


@pytest.fixture
def few_are_enough(monkeypatch):
    """11 images of a probe, for short runs."""
    monkeypatch.setattr("scaling.engine.curve_steps.FEWEST", 8)


def test_a_record_has_its_phases_with_the_loss_around_each_change(base, tmp_path, few_are_enough):
    config = edit(base, epochs=1, num_train=2048, num_val=8, **PATCH)  # 128 steps
    record = train(config, tmp_path, CPU)
    loaded = RunRecord.load(tmp_path / config.run_id)
    assert loaded.phases == record.phases
    assert [(row["first_step"], row["steps"], row["patch_sizes"]) for row in loaded.phases] == [
        (0, 64, [8]), (64, 32, [4]), (96, 32, [2])
    ]  # fmt: skip
    first, *later = loaded.phases
    assert (first["loss_before"], first["spike"]) == (None, None)
    for row in later:
        assert row["images"] == 16 * row["steps"]
        assert row["loss_before"] != row["loss_after"]
        assert row["spike"] >= 0
        assert 0 < row["train_loss"] < 3
    every = {"loss_spikes", "clipped_steps", "grad_norm", "embedding_rms", "update_ratio"}
    assert all(every <= set(row["instruments"]) for row in loaded.phases)
    for column in ("clipped_steps", "grad_norm"):  # of all steps: the whole run has the mean of its phases
        mean = sum(row["instruments"][column] * row["steps"] for row in loaded.phases) / 128
        assert record.metrics[column] == pytest.approx(mean, rel=1e-9)
    assert sum(row["seconds"] for row in loaded.phases) <= record.wall_time
    assert sum(row["flops"] for row in loaded.phases) > 0
    assert train(edit(base, epochs=1), tmp_path, CPU).phases == []


def test_a_probe_leaves_training_as_it_was(base, tmp_path, monkeypatch, few_are_enough):
    config = edit(base, epochs=1, num_train=2048, **PATCH)
    record = train(config, tmp_path / "with", CPU)
    assert None not in (row["spike"] for row in record.phases[1:])
    calls = []
    monkeypatch.setattr(
        "scaling.engine.callbacks.phases.probe_loss", lambda *its: calls.append(its[3].patch_size) or 1.0
    )
    assert train(config, tmp_path / "without", CPU).evaluations == record.evaluations
    assert calls == [8, *[4] * 6, 4, *[2] * 6]  # 32 steps after the last change the run is over


def test_the_learning_rate_is_kept_over_a_change_or_rises_again_after_it(base):
    kept = edit(base, **PATCH)  # changes after half and three quarters
    again = edit(kept, rewarm_steps=3)
    shares = [lr_share(again, step, 40) / lr_share(kept, step, 40) for step in range(40)]
    assert shares == pytest.approx([1] * 20 + [0.25, 0.5, 0.75] + [1] * 7 + [0.25, 0.5, 0.75] + [1] * 7)
    assert [lr_share(kept, step, 40) for step in range(40)] == [
        lr_share(edit(kept, step_shapes="fixed"), step, 40) for step in range(40)
    ]


def test_a_spike_is_what_rises_above_the_loss_after_the_change():
    assert spike_of([]) == (None, None, None, None)
    assert spike_of([1.0, 2.0, 2.5, 1.5, 0.9, 0.8]) == (1.0, 2.0, 0.5, 4)
    assert spike_of([1.0, 0.5, 0.4]) == (1.0, 0.5, 0.0, 0)
    assert spike_of([1.0, 0.9, 1.5, 1.2]) == (1.0, 0.9, 0.6, None)


ROW = {**dict.fromkeys(KINDS, 1), "patch_sizes": [4], "img_sizes": [16], "crops": [1.0]}


@pytest.mark.parametrize(
    "rows",
    [3, [3], [{"steps": 1}], *([{**ROW, "instruments": read}] for read in (3, {"grad_norm": math.nan}, {"a": "b"}))],
)
def test_what_is_no_list_of_phases_is_refused(rows):
    with pytest.raises(ValueError, match="phase"):
        check_phases(rows)


def test_phases_of_an_earlier_version_have_no_instruments():
    check_phases([ROW])
    check_phases([{**ROW, "instruments": {"grad_norm": 1.0}}])


def test_a_batch_of_equal_tokens_that_devices_cannot_share_is_refused(base, tmp_path):
    config = edit(base, patch_schedule="8@0.5,4@0.5", batch_in="tokens")
    settings = RuntimeConfig(**asdict(CPU) | {"micro_batch_size": 3})
    with pytest.raises(ConfigError, match="micro_batch_size 3 does not divide global_batch_size 16 evenly"):
        train(config, tmp_path, settings)
    assert not list(tmp_path.iterdir())
