"""A RunSet has a row per run for laws and tests between seeds, and a row per evaluation beside it."""

import json
from dataclasses import FrozenInstanceError

import pandas as pd
import pytest

from analysis.records.groups import own_groups
from analysis.records.run_set import EVALUATION, RunSet, load
from analysis.records.seed_noise import seed_spread
from analysis.report.sweep_table import sweep_table
from scaling.recipe import Recipe
from scaling.runs.record import RECORD, RunRecord
from tests.analysis.test_runs import save
from tests.conftest import ROOT

PATCHES, SEEDS = (8, 4, 2), (0, 1)


def evaluations(loss: float, patch: int) -> list[dict]:
    """The reported evaluation, one with averaged weights, and one at another patch size."""
    return [
        {
            "patch_size": patch_size,
            "img_size": 16,
            "weights": weights,
            "split": "val",
            "test_loss": loss + more,
            "metrics": {"top1": 40.0 - 10 * more},
        }
        for patch_size, weights, more in ((patch, "raw", 0.0), (patch, "ema", 0.5), (16, "raw", 1.0))
    ]


@pytest.fixture
def runs(tmp_path, monkeypatch) -> RunSet:
    """Six runs, evaluated three times each."""
    for patch in PATCHES:
        for seed in SEEDS:
            loss = 1.0 + 0.1 * patch + 0.01 * seed
            folder = tmp_path / save(tmp_path, Recipe(patch=patch, seed=seed), loss)
            record = json.loads((folder / RECORD).read_text()) | {"evaluations": evaluations(loss, patch)}
            (folder / RECORD).write_text(json.dumps(record))
    plain = RunRecord.load

    def with_evaluations(folder):
        record = plain(folder)
        object.__setattr__(record, "evaluations", json.loads((folder / RECORD).read_text())["evaluations"])
        return record

    monkeypatch.setattr(RunRecord, "load", with_evaluations)
    return load(tmp_path)


def test_further_evaluations_are_rows_of_their_own_frame(runs):
    assert (len(runs.frame), len(runs.evaluations)) == (6, 18)
    assert list(runs.evaluations.columns[: len(EVALUATION)]) == EVALUATION
    of_one = runs.evaluations[runs.evaluations["run_id"] == runs.frame["run_id"].iloc[0]]
    assert of_one[["patch", "patch_size", "weights"]].to_numpy().tolist() == [
        [8, 8, "raw"],
        [8, 8, "ema"],
        [8, 16, "raw"],
    ]
    assert of_one["test_loss"].tolist() == pytest.approx([1.8, 2.3, 2.8])
    assert of_one["top1"].tolist() == [40.0, 35.0, 30.0]


def test_no_law_and_no_test_between_seeds_counts_a_run_twice(runs):
    (group,), refused = own_groups(runs)
    assert not refused
    assert len(group.points) == 6
    assert sorted(group.points["y"]) == sorted(runs.frame["test_loss"])
    (spread,) = seed_spread(runs.finished).to_dict("records")
    assert (spread["df"], spread["seeds"]) == (3, 2)
    assert set(sweep_table(runs.frame)["seeds"]) == {2}


def test_a_frame_with_a_run_twice_is_refused(runs):
    with pytest.raises(ValueError, match="has several rows; further evaluations belong in `evaluations`"):
        RunSet(pd.concat([runs.frame, runs.frame.iloc[[0]]], ignore_index=True))


def test_records_without_evaluations_have_the_reported_one(tmp_path):
    save(tmp_path, Recipe(patch=4), 1.25)
    save(tmp_path, Recipe(patch=2), None)
    (row,) = load(tmp_path).evaluations.to_dict("records")
    assert (row["patch_size"], row["img_size"], row["weights"], row["split"]) == (4, 16, "raw", "val")
    assert (row["test_loss"], row["top1"]) == (1.25, 40.0)


def test_a_selection_keeps_the_evaluations_of_its_runs_and_changes_nothing(runs):
    fine = runs.select(runs.frame["patch"] == 2)
    assert (len(fine.frame), len(fine.evaluations), len(runs.frame)) == (2, 6, 6)
    assert set(fine.evaluations["patch"]) == {2}
    with pytest.raises(FrozenInstanceError):
        fine.frame = runs.frame


def test_no_frame_carries_hidden_attributes(runs):
    assert runs.frame.attrs == runs.evaluations.attrs == {}
    assert not [path for path in (ROOT / "analysis").rglob("*.py") if ".attrs" in path.read_text()]
