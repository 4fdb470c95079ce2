"""A flexible run from its draws to its record: resumed exactly, evaluated at every patch size, its images read once."""

import signal

import pytest
import torch

from scaling.config.edit import edit
from scaling.config.runtime import RuntimeConfig
from scaling.data.datamodule import ImageDataModule
from scaling.data.sampler import ResumableBatchSampler
from scaling.engine.train import train
from scaling.errors import ConfigError, TrainingInterrupted
from scaling.runs.record import RunRecord
from scaling.tasks.classification import ClassificationTask
from tests.engine.test_train import at_step

CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0, micro_batch_size=16)
SEGMENT = {"task": "segment", "num_classes": 4, "head": "upernet", "head_channels": 16}


@pytest.fixture
def flexible(tiny):
    """12 steps of 16 images."""
    return edit(
        tiny, patch_size=4, patch_embed="flexible", step_shapes="random_patch", pos_embed="grid", eval_patches=(2,)
    )


SCHEDULE = {"patch_schedule": "16..8..4", "progress_in": "flops"}
STRETCHES = {"patch_schedule": "16@0.2,8@0.7,4@1"}


def weights_of(folder):
    return torch.load(folder / "weights.pt")["model"]


@pytest.mark.parametrize(
    ("fields", "metric"),
    [
        ({}, "top1"),
        ({"backbone": "adventurer_nano"}, "top1"),
        (SCHEDULE, "top1"),
        (STRETCHES, "top1"),
        (SEGMENT, "miou"),
        ({"norm": "batch_per_patch"}, "top1"),
        ({"patch_per": "image", "drop_path": 0.2}, "top1"),
        ({"patch_per": "image", **SEGMENT}, "miou"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(map(str, value.values())),
)
def test_a_run_has_a_row_per_patch_and_an_interrupted_one_ends_with_the_same_bits(flexible, fields, metric, tmp_path):
    config = edit(flexible, **fields)
    record = train(config, tmp_path / "whole", CPU)
    assert record.status == "finished"
    rows = RunRecord.load(tmp_path / "whole" / config.run_id).evaluations
    assert [row["patch_size"] for row in rows] == [4, 2, 8, 16]
    assert len({row["test_loss"] for row in rows}) == 4
    assert (rows[0]["test_loss"], rows[0]["metrics"][metric]) == (record.test_loss, record.metrics[metric])

    interrupt = at_step(8, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(TrainingInterrupted):
        train(config, tmp_path / "cut", CPU, interrupt)
    resumed = train(config, tmp_path / "cut", CPU)
    assert resumed.evaluations == record.evaluations
    whole, cut = (weights_of(tmp_path / name / config.run_id) for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


@pytest.mark.parametrize("fields", [{}, SCHEDULE])
def test_every_device_and_micro_batch_of_a_step_has_its_patch(flexible, fields):
    data = ImageDataModule(edit(flexible, **fields))
    data.setup()
    expected = [data.shape_at(step) for step in range(data.total_steps)]
    assert {shape.patch_size for shape in expected} == {4, 8, 16}
    for world, micro_batches in ((1, 1), (1, 4), (2, 2)):
        for rank in range(world):
            sampler = ResumableBatchSampler(
                *(64, 16, flexible.seed, 3, 12),
                rank=rank,
                world=world,
                micro_batches=micro_batches,
                shape_at=data.shape_at,
            )
            assert [one.shape for one in sampler] == [s for s in expected[3:] for _ in range(micro_batches)]


@pytest.mark.parametrize("fields", [{}, SEGMENT, {"patch_per": "image"}], ids=["classify", "segment", "per image"])
def test_micro_batches_change_a_run_by_rounding_only(flexible, fields, doubles, tmp_path):
    config = edit(flexible, epochs=1, drop_path=0.0, precision="32", **fields)
    whole, parts = (train(config, tmp_path / str(n), CPU_OF[n]) for n in (16, 4))
    for one, other in zip(whole.evaluations, parts.evaluations, strict=True):
        assert other["test_loss"] == pytest.approx(one["test_loss"], rel=1e-9)


CPU_OF = {n: RuntimeConfig(accelerator="cpu", threads=1, num_workers=0, micro_batch_size=n) for n in (16, 4)}


def test_with_one_patch_and_a_kernel_of_its_size_it_is_the_plain_run(tiny, tmp_path):
    plain = train(tiny, tmp_path, CPU)
    ours = weights_of(tmp_path / tiny.run_id)
    for fields in ({"patches": "8"}, {"patch_schedule": "8@1"}):
        one = edit(tiny, patch_embed="flexible", kernel_size=8, **fields)
        assert train(one, tmp_path, CPU).test_loss == plain.test_loss
        theirs = weights_of(tmp_path / one.run_id)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_both_kinds_of_weights_have_a_row_per_patch_the_reported_ones_first(flexible, tmp_path):
    config = edit(flexible, epochs=1, patches="8,4", eval_patches=(), model_ema_decay=0.9, eval_weights="ema")
    record = train(config, tmp_path, CPU)
    assert [(row["weights"], row["patch_size"]) for row in record.evaluations] == [
        ("ema", 4), ("ema", 8), ("raw", 4), ("raw", 8)
    ]  # fmt: skip
    assert record.test_loss == record.evaluations[0]["test_loss"] == record.metrics["test_loss_averaged"]


def test_an_evaluation_at_several_patches_reads_every_image_once_and_is_that_of_each_alone(flexible):
    data = ImageDataModule(flexible)
    data.setup()
    task = ClassificationTask(flexible, 1).eval()
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}

    def scores(patches):
        task.evaluated_patches = patches
        seen = []
        for number, batch in enumerate(data.test_dataloader()):
            seen += [key.image for key in batch.keys]
            with torch.no_grad():
                task.test_step(batch, number)
        assert sorted(seen) == list(range(40))
        return task.compute_metrics_by_patch()

    together = scores((4, 2, 8, 16))
    assert list(together) == [4, 2, 8, 16]
    assert scores((16, 4)) == {16: together[16], 4: together[4]}
    for patch in (2, 8):
        assert scores((patch,)) == {patch: together[patch]}
    task.evaluated_patches = (4,)
    assert all(torch.equal(before[name], tensor) for name, tensor in task.state_dict().items())


def test_compiling_every_shape_is_refused(flexible, tmp_path):
    settings = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0, micro_batch_size=16, compile=True)
    with pytest.raises(ConfigError, match=r"^compile is for steps of one shape, and this run has 3, [^\n]*$"):
        train(flexible, tmp_path / "results", settings)
    assert not list((tmp_path / "results").rglob("*"))
