"""A results folder becomes a frame, whatever state its runs are in."""

import dataclasses
import json
import math

import pandas as pd
import pytest

from analysis.records.group_labels import labels
from analysis.records.run_frame import COLUMNS, finished, headlines
from analysis.records.run_set import LeftOut, load
from scaling.errors import ConfigError
from scaling.recipe import Recipe
from scaling.runs.record import RECIPE, RECORD, RunRecord


def record(recipe: Recipe, test_loss: float | None = 1.5, **facts) -> RunRecord:
    """A finished run of recipe, or a failed one where test_loss is None."""
    return RunRecord(
        **{
            "run_id": recipe.run_id,
            "group": recipe.group,
            "recipe": recipe.to_dict(),
            "status": "failed" if test_loss is None else "finished",
            "test_loss": test_loss,
            "metrics": {} if test_loss is None else {"top1": 40.0, "top5": 90.0, "train_loss": 1.4},
            "tokens": (recipe.image // recipe.patch) ** 2,
            "parameters": 200_000,
            "flops_per_image": 4e6,
            "peak_memory": 500_000_000,
            "images_per_second": 1000.0,
            "wall_time": 12.5,
            "versions": {"torch": "2.15.0"},
            "machine": {"cpu": "two cores"},
            **facts,
        }
    )


def save(results, recipe: Recipe, *args, **facts) -> str:
    """Write a run's folder; returns its name."""
    folder = results / recipe.run_id
    folder.mkdir(parents=True)
    (folder / RECIPE).write_text(recipe.canonical_json())
    record(recipe, *args, **facts).save(folder)
    return folder.name


def test_a_row_holds_the_recipe_the_facts_and_the_metrics(tmp_path):
    recipe = Recipe(patch=4, seed=3, crop=0.875)
    save(tmp_path, recipe)
    frame = load(tmp_path).frame
    (row,) = frame.to_dict("records")
    assert list(frame.columns[: len(COLUMNS)]) == COLUMNS
    assert {name: row[name] for name in recipe.to_dict()} == recipe.to_dict()
    assert (row["run_id"], row["group"], row["status"]) == (recipe.run_id, recipe.group, "finished")
    assert (row["test_loss"], row["top1"], row["train_loss"], row["tokens"]) == (1.5, 40.0, 1.4, 16)
    assert (row["version_torch"], row["machine_cpu"], row["failure"]) == ("2.15.0", "two cores", "")


def test_rows_are_sorted_by_group_then_from_coarse_to_fine_then_by_seed(tmp_path):
    for backbone in ("deit_nano", "adventurer_nano"):
        for patch in (1, 16, 4):
            for seed in (1, 0):
                save(tmp_path, Recipe(backbone=backbone, patch=patch, seed=seed))
    frame = load(tmp_path).frame
    assert list(frame["backbone"].unique()) == ["adventurer_nano", "deit_nano"]
    its = frame[frame["backbone"] == "deit_nano"]
    assert list(zip(its["patch"], its["seed"], strict=True)) == [(16, 0), (16, 1), (4, 0), (4, 1), (1, 0), (1, 1)]
    assert its["group"].nunique() == 1


def segmented(**fields) -> Recipe:
    """A small recipe of another task."""
    return Recipe(**{"task": "segment", "backbone": "adventurer_nano", "image": 32, "classes": 13, **fields})


def test_a_run_of_any_task_is_a_row_of_the_same_frame(tmp_path):
    save(tmp_path, Recipe(patch=4))
    save(tmp_path, segmented(), metrics={"miou": 40.0, "pixel_accuracy": 80.0, "iou_sky": 60.0})
    frame = load(tmp_path).frame
    assert list(frame.columns[: len(COLUMNS)]) == COLUMNS
    rows = frame.set_index("task")
    assert (rows.loc["classify", "top1"], rows.loc["segment", "miou"]) == (40.0, 40.0)
    assert rows[["top1", "miou", "iou_sky"]].isna().to_numpy().tolist() == [[False, True, True], [True, False, False]]
    assert rows.loc["segment", "head"] == "linear"


def test_headlines_are_those_that_some_run_has(tmp_path):
    save(tmp_path, Recipe(patch=4))
    save(tmp_path, segmented(patch=8), None)
    assert headlines(load(tmp_path).frame) == {"top1": "top-1"}
    save(tmp_path, segmented(), metrics={"miou": 40.0})
    assert headlines(load(tmp_path).frame) == {"top1": "top-1", "miou": "mIoU"}
    assert headlines(load(tmp_path).frame.query("task == 'segment'")) == {"miou": "mIoU"}
    assert headlines(pd.DataFrame({"group": ["a"]})) == {}


def test_a_run_without_a_record_is_unfinished_and_no_row(tmp_path):
    save(tmp_path, Recipe(patch=4))
    running = tmp_path / Recipe(patch=2).run_id
    running.mkdir()
    (running / RECIPE).write_text(Recipe(patch=2).canonical_json())
    (tmp_path / "analysis").mkdir()
    (tmp_path / "notes.txt").write_text("not a run")
    runs = load(tmp_path)
    assert list(runs.frame["patch"]) == [4]
    assert runs.unfinished == (LeftOut(running.name, Recipe().group, ""),)
    assert runs.corrupt == ()


def test_a_folder_where_nothing_has_ended_yet_gives_an_empty_frame(tmp_path):
    running = tmp_path / Recipe().run_id
    running.mkdir()
    (running / RECIPE).write_text(Recipe().canonical_json())
    runs = load(tmp_path)
    assert len(runs.frame) == len(runs.evaluations) == 0
    assert list(runs.frame.columns) == COLUMNS
    assert [one.folder for one in runs.unfinished] == [running.name]


def test_a_failed_run_is_a_row_with_its_reason_and_no_loss(tmp_path):
    save(tmp_path, Recipe(patch=4))
    save(tmp_path, Recipe(patch=2), None, failure={"reason": "loss is nan", "step": 40, "lr": 0.002})
    frame = load(tmp_path).frame
    failed = frame[frame["status"] == "failed"].iloc[0]
    assert failed["patch"] == 2
    assert failed["failure"] == "loss is nan"
    assert math.isnan(failed["test_loss"])
    assert list(finished(frame)["patch"]) == [4]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"run_id": "x", ', "is no run record"),
        ("", "is no run record"),
        ("[1, 2]", "is no run record"),
        ("\x00\xff", "is no run record"),
    ],
)
def test_a_torn_record_is_named_and_the_others_are_loaded(tmp_path, text, says):
    save(tmp_path, Recipe(patch=4))
    torn = save(tmp_path, Recipe(patch=2))
    (tmp_path / torn / RECORD).write_text(text, encoding="latin-1")
    runs = load(tmp_path)
    assert list(runs.frame["patch"]) == [4]
    (one,) = runs.corrupt
    assert one.folder == torn
    assert says in one.reason
    assert "\n" not in one.reason


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"test_loss": -1.0}, "a test loss of -1.0 nats"),
        ({"test_loss": float("nan")}, "a test loss of nan nats"),
        ({"test_loss": "low"}, "a test loss of 'low' nats"),
        ({"metrics": None}, "metrics is None, not a mapping"),
        ({"metrics": {"top1": "high"}}, "top1 is 'high', not a finite number"),
        ({"tokens": [1]}, r"tokens is [1], not a finite number"),
        ({"machine": "mine"}, "machine is 'mine', not a mapping"),
        ({"recipe": {"patch": 3, "image": 16}}, "patch 3 does not divide"),
        ({"recipe": {"pitch": 3}}, "was written by a newer version, whose recipe has pitch"),
        ({"run_id": "another"}, "is the record of another"),
    ],
)
def test_a_record_that_cannot_be_is_named_and_left_out(tmp_path, wrong, says):
    save(tmp_path, Recipe(patch=4))
    folder = tmp_path / save(tmp_path, Recipe(patch=2))
    values = dataclasses.asdict(RunRecord.load(folder)) | wrong
    (folder / RECORD).write_text(json.dumps(values))
    runs = load(tmp_path)
    assert list(runs.frame["patch"]) == [4]
    assert [one.folder for one in runs.corrupt] == [folder.name]
    assert says in runs.corrupt[0].reason


def test_a_copied_run_does_not_count_twice(tmp_path):
    folder = tmp_path / save(tmp_path, Recipe(patch=4))
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / RECORD).write_text((folder / RECORD).read_text())
    runs = load(tmp_path)
    assert len(runs.frame) == 1
    assert [one.folder for one in runs.corrupt] == ["copy"]


def test_a_folder_without_runs_is_refused_with_the_way_to_make_one(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name, says in {"missing": "no results folder", "empty": "holds no run", "file": "is a file"}.items():
        with pytest.raises(ConfigError, match=says) as caught:
            load(tmp_path / name)
        assert "make sweep" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_labels_say_no_more_than_it_takes_to_tell_groups_apart(tmp_path):
    recipe = Recipe(patch=4)
    save(tmp_path, recipe)
    assert list(load(tmp_path).labels().values()) == ["deit_nano"]
    save(tmp_path, dataclasses.replace(recipe, image=32))
    assert set(load(tmp_path).labels().values()) == {"deit_nano shapes 16 px", "deit_nano shapes 32 px"}
    other = dataclasses.replace(recipe, lr=1e-3)
    save(tmp_path, other)
    named = load(tmp_path).labels()
    assert set(named.values()) == {
        "deit_nano shapes 16 px lr 0.002",
        "deit_nano shapes 16 px lr 0.001",
        "deit_nano shapes 32 px",
    }


def test_heads_and_tasks_are_named_where_there_are_several(tmp_path):
    def names() -> list[str]:
        return sorted(load(tmp_path).labels().values())

    linear, upernet = (segmented(head=head) for head in ("linear", "upernet"))
    for recipe in (linear, upernet):
        save(tmp_path, recipe)
    assert names() == ["adventurer_nano linear", "adventurer_nano upernet"]
    save(tmp_path, Recipe(backbone="deit_nano"))
    assert names() == ["adventurer_nano segment linear", "adventurer_nano segment upernet", "deit_nano classify"]
    save(tmp_path, dataclasses.replace(linear, image=64))
    assert names() == [
        "adventurer_nano segment linear shapes 32 px",
        "adventurer_nano segment linear shapes 64 px",
        "adventurer_nano segment upernet shapes 32 px",
        "deit_nano classify shapes 16 px",
    ]
    save(tmp_path, dataclasses.replace(linear, lr=1e-4))
    named = load(tmp_path).labels()
    assert len(set(named.values())) == 5
    assert named[linear.group] == "adventurer_nano segment linear shapes 32 px lr 0.002"


def test_data_alone_tell_groups_apart_without_a_word_of_the_head_that_all_have(tmp_path):
    save(tmp_path, segmented())
    save(tmp_path, segmented(data="camvid", classes=11, image=128, patch=8))
    assert set(load(tmp_path).labels().values()) == {"adventurer_nano shapes 32 px", "adventurer_nano camvid 128 px"}


def test_stages_of_a_chain_have_names_of_their_own():
    frame = pd.DataFrame(
        {
            "group": ["a-1", "b-2", "c-3"],
            "backbone": "adventurer_nano",
            "data": "cifar10",
            "image": [32, 64, 64],
            "stage": ["pretrain", "intermediate", "finetune"],
        }
    )
    assert list(labels(frame).values()) == [
        "adventurer_nano cifar10 32 px pretrain",
        "adventurer_nano cifar10 64 px intermediate",
        "adventurer_nano cifar10 64 px finetune",
    ]
