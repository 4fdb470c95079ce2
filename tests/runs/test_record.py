import dataclasses
import json
import os

import pytest

from scaling.config.edit import make_config
from scaling.errors import ConfigError
from scaling.runs.atomic_files import write_atomically
from scaling.runs.evaluations import evaluation
from scaling.runs.record import RunRecord


def a_record(**changes) -> RunRecord:
    config = make_config()
    values = {
        "run_id": config.run_id,
        "group": config.group,
        "config": config.to_dict(),
        "status": "finished",
        "test_loss": 1.25,
        "metrics": {"top1": 50.0},
        "tokens": 16,
        "parameters": 1000,
        "flops_per_image": 1e6,
        "peak_memory": 10**8,
        "images_per_second": 100.0,
        "wall_time": 3.5,
        "evaluations": [
            evaluation(config.model.patch_size, config.model.img_size, "raw", {"test_loss": 1.25, "top1": 50.0})
        ],
    }
    return RunRecord(**{**values, **changes})


def test_a_record_comes_back_as_it_was_saved(tmp_path):
    record = a_record()
    record.save(tmp_path)
    assert RunRecord.load(tmp_path) == record
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_a_record_from_before_there_were_evaluations_is_given_the_one_that_it_reports(tmp_path):
    metrics = {
        "top1": 50.0, "top5": 80.0, "train_loss": 0.5, "skipped_train": 2.0, "skipped_test_later": 1.0, "val_loss": 1.5,
        "val_top1": 48.0, "test_loss_raw": 1.25, "test_loss_averaged": 1.3, "top1_raw": 50.0, "top1_averaged": 49.0,
    }  # fmt: skip
    a_record(evaluations=[], metrics=metrics).save(tmp_path)
    config, record = make_config(), RunRecord.load(tmp_path)
    results = {"test_loss": 1.25, "top1": 50.0, "top5": 80.0, "skipped_test_later": 1.0}
    assert record.evaluations == [evaluation(config.model.patch_size, config.model.img_size, "raw", results)]
    assert record.metrics == metrics
    a_record(evaluations=[], status="failed", test_loss=None, metrics={}).save(tmp_path)
    assert RunRecord.load(tmp_path).evaluations == []


@pytest.mark.parametrize(
    "wrong", [{}, [{}], [{"weights": "both"}], [{"test_loss": "low"}], [{"metrics": {"top1": None}}]]
)
def test_evaluations_that_are_none_make_no_record(tmp_path, wrong):
    row = evaluation(4, 32, "raw", {"test_loss": 1.25})
    a_record(evaluations=[row | wrong[0]] if wrong and wrong[0] else wrong or {}).save(tmp_path)
    with pytest.raises(ConfigError, match=r"record\.json is no run record"):
        RunRecord.load(tmp_path)


def test_a_failed_run_has_no_loss_and_says_why(tmp_path):
    record = a_record(status="failed", test_loss=None, failure={"reason": "nan", "step": 3, "lr": 0.1})
    record.save(tmp_path)
    assert RunRecord.load(tmp_path).failure["step"] == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace('"finished"', '"maybe"'),
        lambda text: text.replace("1.25", "null"),
        lambda text: text.replace("1.25", "NaN"),
        lambda text: text.replace("1.25", "-1.25"),
        lambda text: text.replace("1.25", "true"),
        lambda text: text.replace('"patch_size": 4', '"patch_size": 5'),
        lambda text: "\x00" * 100,
    ],
)
def test_a_damaged_record_is_named_and_never_used(tmp_path, damage):
    path = a_record().save(tmp_path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ConfigError, match=r"record\.json is no run record"):
        RunRecord.load(tmp_path)


def test_a_missing_record_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        RunRecord.load(tmp_path)


def test_what_is_not_finite_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        a_record(wall_time=float("nan")).save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = a_record().save(tmp_path)
    before = path.read_text()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert path.read_text() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_the_record_says_everything_in_plain_json(tmp_path):
    values = json.loads(a_record().save(tmp_path).read_text())
    assert set(values) == {f.name for f in dataclasses.fields(RunRecord)}
