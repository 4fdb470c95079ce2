"""Runs with dropped tokens: the same numbers however a batch is cut, resumed exactly, the share that was kept."""

import signal
from dataclasses import replace

import pytest
import torch

from scaling.config.edit import edit
from scaling.engine.train import train
from scaling.errors import TrainingInterrupted
from tests.engine.test_packed_runs import CPU, weights_of
from tests.engine.test_train import at_step


@pytest.fixture
def dropping(tiny):
    """Twelve steps of 16 images of 16 px."""
    return edit(tiny, packing="sequences", image_sizes="16", patch_size=4, pos_embed="sincos", eval_img_sizes=(8,))


@pytest.mark.parametrize("backbone", ["deit_nano", "adventurer_nano"])
def test_micro_batches_give_the_run_of_whole_batches(dropping, backbone, tmp_path, doubles):
    dropping = edit(dropping, backbone=backbone, token_drop="beta", max_steps=6)
    whole = train(dropping, tmp_path / "whole", CPU)
    cut = train(dropping, tmp_path / "cut", replace(CPU, micro_batch_size=4))
    assert whole.test_loss == pytest.approx(cut.test_loss, rel=1e-9)
    assert whole.metrics["tokens_kept"] == pytest.approx(cut.metrics["tokens_kept"])
    assert 40 < whole.metrics["tokens_kept"] < 60


def test_an_interrupted_run_ends_with_the_same_weights(dropping, tmp_path):
    dropping = edit(dropping, token_drop="schedule", drop_start=0.9, drop_end=0.1)
    whole = train(dropping, tmp_path / "whole", CPU)
    with pytest.raises(TrainingInterrupted):
        train(dropping, tmp_path / "cut", CPU, at_step(8, lambda: signal.raise_signal(signal.SIGINT)))
    record = train(dropping, tmp_path / "cut", CPU)
    assert record.evaluations == whole.evaluations
    assert record.metrics["tokens_kept"] == whole.metrics["tokens_kept"]
    ours, theirs = (weights_of(dropping, tmp_path / name) for name in ("cut", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_rate_of_0_gives_the_weights_of_no_dropping(dropping, tmp_path):
    dropping = edit(dropping, image_sizes="8-24", max_steps=3, backbone="adventurer_nano")
    zero = edit(dropping, drop_rate=0.0)
    records = [train(config, tmp_path, CPU) for config in (dropping, zero)]
    assert records[0].evaluations == records[1].evaluations
    assert records[0].metrics["tokens_kept"] == records[1].metrics["tokens_kept"] == 100
    ours, theirs = (weights_of(config, tmp_path) for config in (dropping, zero))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
