"""A loss at chance, few steps, few patch sizes, more devices than cores, a logger with nothing to log: all are said."""

import math
from dataclasses import replace

import pytest

from analysis.records.chance_level import at_chance, chance_lines
from analysis.records.groups import own_groups
from analysis.records.run_set import load
from analysis.report.law_report import law_input, report
from analysis.report.more_patches import more_patches, proposed
from analysis.report.sweep_table import print_sweep
from experiments.cli.data_check import check_data
from experiments.launch.progress_display import Console
from experiments.sweep_report import with_others
from scaling.config.edit import edit, make_config
from scaling.config.runtime import RuntimeConfig
from scaling.engine import train as training
from scaling.engine.loggers import make_loggers
from scaling.engine.train import train
from scaling.errors import ConfigError
from scaling.runs.events import Event
from scaling.runs.record import RunRecord
from tests.analysis.test_cost_model import record
from tests.pictures import write_classes

CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0)
LN3 = math.log(3)


def saved(results, losses, **fields):
    """Finished runs with these losses by patch."""
    for patch, loss in losses.items():
        run = make_config(dataset="folder", data_root="pets", img_size=64, patch_size=patch, num_classes=3, **fields)
        replace(record(run, results, 1.0), test_loss=loss).save(results / run.run_id)
    return load(results)


def test_losses_at_chance_are_known_by_the_number_of_classes(tmp_path):
    frame = saved(tmp_path, {16: 1.094, 8: LN3 * 1.5, 4: 0.97 * LN3, 2: 0.2}).frame
    assert dict(zip(frame["patch"], at_chance(frame), strict=True)) == {16: True, 8: True, 4: False, 2: False}
    (line,) = chance_lines(frame)
    assert "deit_nano has not learned at patch 16, 8: test loss 1.094 to 1.648 nats, guessing among 3 classes" in line
    assert "gives 1.099" in line
    assert chance_lines(frame[frame["patch"] < 8]) == []


def test_losses_of_objects_and_of_unknown_classes_are_never_at_chance(tmp_path):
    frame = saved(tmp_path, {16: 5.0, 8: 4.0}, task="detect", head="cascade_mask_rcnn").frame
    assert not at_chance(frame).any()
    frame["task"], frame["classes"] = "classify", math.nan
    assert not at_chance(frame).any()


@pytest.mark.usefixtures("unsaved", "unbanded")
def test_table_and_law_say_that_nothing_was_learned(tmp_path, capsys):
    runs = saved(tmp_path, {16: 1.094, 8: 1.1, 4: 1.095})
    print_sweep(runs.frame)
    assert "at chance level (a loss of 0.98 ln 3 or more): patch 16, 8, 4" in capsys.readouterr().out
    report(law_input(runs), tmp_path / "out")
    said = capsys.readouterr().out
    assert "deit_nano has not learned: test loss 1.094 to 1.100 nats" in said
    assert max(map(len, said.replace(str(tmp_path), "").splitlines())) <= 80


@pytest.mark.parametrize(
    ("there", "image", "wanted"),
    [
        ([16, 8], 16, [16, 8, 4]),
        ([8, 4], 64, [16, 8, 4]),
        ([1], 16, [16, 8, 1]),
        ([7], 28, [7, 4, 2]),
        ([32, 16], 64, [32, 16, 8]),
        ([16, 8, 4, 2], 16, [16, 8, 4, 2]),
        ([3], 9, [3, 1]),
        ([8], 0, [16, 8, 4]),
    ],
)
def test_the_patches_that_a_law_misses_are_proposed(there, image, wanted):
    assert proposed(there, image) == wanted


def test_too_few_patches_are_answered_by_the_sweeps_command_with_more(tmp_path):
    (group,) = own_groups(saved(tmp_path, {8: 0.5, 4: 0.4}))[0]
    assert more_patches(group) == "repeat its sweep command with --patch 16,8,4 to train the missing ones"


def test_laws_are_of_all_groups_in_the_folder_that_have_patches_enough(tmp_path):
    saved(tmp_path, {16: 0.9, 8: 0.8, 4: 0.7})
    saved(tmp_path, {16: 0.9, 8: 0.8}, backbone="adventurer_nano")
    runs = saved(tmp_path, {8: 0.8, 4: 0.7}, lr=1e-3)
    found = with_others(runs, runs.select(runs.frame["lr"] == 1e-3))
    kept = set(zip(found.frame["backbone"], found.frame["lr"], strict=True))
    assert kept == {("deit_nano", 2e-3), ("deit_nano", 1e-3)}
    assert {group.name for group in own_groups(found)[0]} == {"deit_nano lr 0.001", "deit_nano lr 0.002"}


def test_few_steps_an_epoch_are_said_and_enough_are_not(tmp_path, tiny):
    few = edit(tiny, num_train=20)
    said = "20 training images are 1 step per epoch: a --global-batch-size below 16 gives more"
    assert check_data([few, edit(few, patch_size=4), tiny], tmp_path) == [said]
    assert check_data([edit(few, max_steps=500)], tmp_path) == []
    write_classes(tmp_path / "pets", ("ant", "bee"), train=5, test=2)
    pets = edit(
        few,
        dataset="folder",
        data_root=str(tmp_path / "pets"),
        num_classes=2,
        num_train=None,
        num_val=None,
        global_batch_size=4,
    )
    (line,) = check_data([pets], tmp_path)
    assert line.startswith("10 training images are 2 steps per epoch: a --global-batch-size below 4 gives more")
    assert check_data([edit(pets, global_batch_size=2)], tmp_path) == []


def test_a_note_is_said_once_however_many_runs_have_it(capsys):
    with Console() as console:
        for run_id in ("a-b-16px-p8-s0-x", "a-b-16px-p4-s0-x"):
            console.begin(run_id)
            console.show(run_id, Event("note", text="a word"))
    assert capsys.readouterr().out.count("a word") == 1


def test_a_finished_run_says_that_a_logger_gets_nothing(trained, tiny):
    said = []
    done = train(tiny, trained(tiny), replace(CPU, logger="tensorboard"), lambda event: said.append(event.text))
    assert done == RunRecord.load(trained(tiny) / tiny.run_id)
    assert said == [
        "a finished run is not trained again, so nothing is logged to tensorboard; its losses are in curve.csv"
    ]


def test_more_devices_than_cores_are_said(tmp_path, tiny, monkeypatch):
    def stop(*_, **__):
        raise ConfigError("far enough")

    said = []
    monkeypatch.setattr(training, "ImageDataModule", stop)
    monkeypatch.setattr(training, "usable_cores", lambda: 2)
    for devices in ("8", "2"):
        with pytest.raises(ConfigError, match="far enough"):
            train(tiny, tmp_path, replace(CPU, devices=devices), lambda event: said.append(event.text))
    assert said == ["8 devices are 8 processes on 2 cores: --devices 2 is as fast"]


def test_tensorboard_gets_no_metric_that_nobody_measured(tmp_path, tiny, monkeypatch):
    """Lightning logs an hp_metric of -1 of its own accord (#7764)."""
    made = {}

    class Logger:
        def __init__(self, *_, **words):
            made.update(words)

        def log_hyperparams(self, values):
            made["values"] = values

    monkeypatch.setattr("lightning.pytorch.loggers.TensorBoardLogger", Logger)
    make_loggers("tensorboard", tmp_path / tiny.run_id, tiny.run_id, tiny.group, tiny.to_dict())
    assert made["default_hp_metric"] is False
    assert made["values"] == tiny.to_dict()
