"""Runs on packed images: the same numbers however a batch is cut, resumed exactly, a row per image size."""

import signal
from dataclasses import replace

import pytest
import torch

from experiments.planning.predicted_packing import predicted_packing
from scaling.config.edit import edit
from scaling.config.runtime import RuntimeConfig
from scaling.engine.train import train
from scaling.errors import TrainingInterrupted
from scaling.runs.identity import folder_of
from scaling.runs.record import WEIGHTS
from tests.engine.test_train import at_step

CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0, micro_batch_size=16)


@pytest.fixture
def packed(tiny):
    """Twelve steps of 16 images of 8 to 24 px."""
    sizes = {"image_sizes": "8-24", "eval_img_sizes": (8, 24), "sequence_length": 64}
    return edit(tiny, packing="sequences", patch_size=4, pos_embed="sincos", **sizes)


def weights_of(config, results):
    return torch.load(folder_of(config, results) / WEIGHTS, weights_only=True)["model"]


@pytest.mark.parametrize("backbone", ["deit_nano", "adventurer_nano"])
def test_micro_batches_give_the_run_of_whole_batches(packed, backbone, tmp_path, doubles):
    packed = edit(packed, backbone=backbone)
    whole = train(packed, tmp_path / "whole", CPU)
    cut = train(packed, tmp_path / "cut", replace(CPU, micro_batch_size=4))
    assert whole.test_loss == pytest.approx(cut.test_loss, rel=1e-9)
    assert whole.metrics["images_per_sequence"] > 1


@pytest.mark.parametrize("fields", [{}, {"task": "segment", "num_classes": 4}], ids=["classify", "segment"])
def test_an_interrupted_run_ends_with_the_same_weights(packed, fields, tmp_path):
    packed = edit(packed, **fields)
    whole = train(packed, tmp_path / "whole", CPU)

    interrupt = at_step(8, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(TrainingInterrupted):
        train(packed, tmp_path / "cut", CPU, interrupt)
    record = train(packed, tmp_path / "cut", CPU)
    assert record.evaluations == whole.evaluations
    for name in ("padding", "images_per_sequence"):
        assert record.metrics[name] == whole.metrics[name]
    assert 0 < record.metrics["padding"] < 100
    ours, theirs = (weights_of(packed, tmp_path / name) for name in ("cut", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_there_is_a_row_per_image_size_that_of_the_model_first(packed, tmp_path):
    record = train(packed, tmp_path, CPU)
    assert [row["img_size"] for row in record.evaluations] == [16, 8, 24]
    assert record.evaluations[0]["test_loss"] == record.test_loss
    assert len({row["test_loss"] for row in record.evaluations}) == 3


@pytest.mark.parametrize("per", ["image", "batch"])
def test_the_predicted_padding_is_that_of_the_record(packed, per, tmp_path):
    packed = edit(packed, image_sizes_per=per, drop_rate=0.3, epochs=1)
    record = train(packed, tmp_path, replace(CPU, micro_batch_size=8))
    predicted = predicted_packing(packed, 8, None)
    assert predicted.padding == pytest.approx(record.metrics["padding"], abs=1e-12)
    assert predicted.images_per_sequence == record.metrics["images_per_sequence"] > 1
