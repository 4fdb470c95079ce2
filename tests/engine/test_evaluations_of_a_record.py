"""A record lists the evaluations at the end of a run, the reported one first."""

import json

import pytest

from scaling.config.edit import edit
from scaling.runs.evaluations import evaluation
from scaling.runs.record import RECORD, RunRecord


def record_of(results, config):
    return RunRecord.load(results / config.run_id)


def results_of(record, suffix=""):
    """test_loss, top1 and top5 of a record, of one kind of weights."""
    facts = {"test_loss": record.test_loss, **record.metrics}
    return {name: facts[name + suffix] for name in ("test_loss", "top1", "top5")}


def test_a_run_without_an_average_has_one(trained, tiny):
    record = record_of(trained(tiny), tiny)
    assert record.evaluations == [evaluation(tiny.model.patch_size, tiny.model.img_size, "raw", results_of(record))]


@pytest.mark.parametrize("judged", ["raw", "ema"])
def test_a_run_with_an_average_has_one_of_each_kind_of_weights(trained, tiny, judged):
    config = edit(tiny, model_ema_decay=0.9, eval_weights=judged, val_split=0.25)
    record = record_of(trained(config), config)
    raw, ema = (
        evaluation(tiny.model.patch_size, tiny.model.img_size, name, results_of(record, suffix))
        for name, suffix in (("raw", "_raw"), ("ema", "_averaged"))
    )
    assert raw["test_loss"] != ema["test_loss"]
    assert record.evaluations == ([raw, ema] if judged == "raw" else [ema, raw])
    assert results_of(record) == results_of(record, "_raw" if judged == "raw" else "_averaged")
    assert "val_loss" in record.metrics  # of other images: no evaluation of the test images


def test_the_keys_of_a_record_keep_their_order(trained, tiny):
    keys = list(json.loads((trained(tiny) / tiny.run_id / RECORD).read_text()))
    assert keys == [
        "run_id", "group", "config", "status", "test_loss", "metrics", "tokens", "parameters", "flops_per_image",
        "peak_memory", "images_per_second", "wall_time", "curve", "class_names", "failure", "versions", "git_commit",
        "machine", "started", "ended", "evaluations", "teacher_flops_per_image", "phases",
    ]  # fmt: skip
