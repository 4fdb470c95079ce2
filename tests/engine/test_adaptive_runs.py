"""Runs with adaptive patches: the same numbers however a batch is cut, resumed exactly, leaves in the record."""

import signal
from dataclasses import replace

import pytest
import torch

from scaling.comparison.models import open_models
from scaling.config.edit import edit
from scaling.engine.train import train
from scaling.errors import ConfigError, TrainingInterrupted
from scaling.runs.identity import folder_of
from tests.engine.test_packed_runs import CPU, weights_of
from tests.engine.test_train import at_step

LEAVES = ("leaves", "leaves_8px", "leaves_4px", "leaves_2px")


@pytest.fixture
def adaptive(tiny):
    """Twelve steps of 16 images of 16 px."""
    return edit(tiny, patch_size=2, leaf_share=0.3, pos_embed="sincos")


@pytest.mark.parametrize("backbone", ["deit_nano", "adventurer_nano"])
def test_micro_batches_give_the_run_of_whole_batches(adaptive, backbone, tmp_path, doubles):
    adaptive = edit(adaptive, backbone=backbone, max_steps=6)
    whole = train(adaptive, tmp_path / "whole", CPU)
    cut = train(adaptive, tmp_path / "cut", replace(CPU, micro_batch_size=4))
    assert whole.test_loss == pytest.approx(cut.test_loss, rel=1e-9)
    assert [whole.metrics[name] for name in LEAVES] == [cut.metrics[name] for name in LEAVES]
    assert whole.metrics["leaves"] == whole.tokens == 19
    assert sum(whole.metrics[name] for name in LEAVES[1:]) == pytest.approx(100)


def test_an_interrupted_run_ends_with_the_same_weights(adaptive, tmp_path):
    adaptive = edit(adaptive, split_by="edges", split_threshold=20.0, leaf_share=1.0)
    whole = train(adaptive, tmp_path / "whole", CPU)
    with pytest.raises(TrainingInterrupted):
        train(adaptive, tmp_path / "cut", CPU, at_step(8, lambda: signal.raise_signal(signal.SIGINT)))
    record = train(adaptive, tmp_path / "cut", CPU)
    assert record.evaluations == whole.evaluations
    assert record.metrics == whole.metrics
    ours, theirs = (weights_of(adaptive, tmp_path / name) for name in ("cut", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert whole.flops_per_image == 0  # nobody knows them before the images
    assert 4 < whole.metrics["leaves"] < 64 == whole.tokens


def test_the_comparison_of_representations_is_refused_in_a_line(adaptive, trained):
    adaptive = edit(adaptive, max_steps=1)
    folder = folder_of(adaptive, trained(adaptive))
    with pytest.raises(ConfigError, match=r"has patches of several sizes; models with one are compared[^\n]*$"):
        open_models([str(folder)], [])


def test_compiling_is_refused_in_a_line(adaptive, tmp_path):
    with pytest.raises(ConfigError, match=r"^compile is for steps of one shape, and adaptive patches have many[^\n]*$"):
        train(adaptive, tmp_path, replace(CPU, compile=True))
