"""A run of no epochs evaluates the weights that it starts from, here those of a model of one patch size elsewhere."""

import pytest
import torch

from experiments.cli.data_check import few_steps
from experiments.planning import cost_estimate
from scaling.config.edit import edit
from scaling.config.initialization import FromRun
from scaling.config.patch_embeds import RESIZE_METHODS
from scaling.config.runtime import RuntimeConfig
from scaling.engine.train import train
from scaling.runs.record import RunRecord

CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0, micro_batch_size=16)


def resized(fixed, method):
    fields = {"patch_embed": "flexible", "kernel_size": fixed.model.patch_size, "eval_patches": (16, 4)}
    return edit(fixed, epochs=0, resize=method, init=FromRun(config=fixed), **fields)


@pytest.mark.parametrize("backbone", ["deit_nano", "adventurer_nano"])
def test_a_fixed_model_at_its_own_patch_is_unchanged_by_any_resizing_and_at_others_by_each_in_its_way(
    tiny, backbone, tmp_path
):
    fixed = edit(tiny, backbone=backbone, pos_embed="sincos", epochs=1)
    before = train(fixed, tmp_path, CPU)
    away = set()
    for method in RESIZE_METHODS:
        config = resized(fixed, method)
        record = train(config, tmp_path, CPU)
        assert record.status == "finished"
        assert [row["patch_size"] for row in record.evaluations] == [8, 4, 16]
        assert record.test_loss == before.test_loss
        assert record.metrics["top1"] == before.metrics["top1"]
        assert "train_loss" not in record.metrics
        away |= {(row["patch_size"], row["test_loss"]) for row in record.evaluations[1:]}
        ours, theirs = (torch.load(tmp_path / one.run_id / "weights.pt")["model"] for one in (config, fixed))
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        assert RunRecord.load(tmp_path / config.run_id) == record
    assert len(away) == 2 * len(RESIZE_METHODS)


def test_it_is_another_run_than_one_that_trains_and_takes_the_time_of_its_evaluation(tiny, tmp_path):
    none, one = edit(tiny, epochs=0), edit(tiny, epochs=1)
    assert none.run_id != one.run_id != tiny.run_id
    device = cost_estimate.device("", 0, tmp_path)
    hours = [cost_estimate.forecast(run, device).hours for run in (none, one)]
    images, tested = one.data.num_train, one.data.num_val
    assert hours[0] / hours[1] == pytest.approx(tested / 3 / (images + tested / 3))
    assert few_steps(none) == ""


def test_from_scratch_with_an_average_and_milestones_it_evaluates_the_first_weights(tiny, tmp_path):
    config = edit(tiny, epochs=0, model_ema_decay=0.9, lr_schedule="multistep", milestones=(1,))
    record = train(config, tmp_path, CPU)
    assert record.metrics["test_loss_raw"] == record.metrics["test_loss_averaged"] == record.test_loss
    weights = torch.load(tmp_path / config.run_id / "weights.pt")
    assert all(torch.equal(weights["model"][name], weights["model_ema"][name]) for name in weights["model"])
