"""How far seeds lie apart, and what is said of the smallest patch."""

import math

import pandas as pd
import pytest

from analysis.records.run_frame import finished
from analysis.records.run_set import load
from analysis.records.seed_noise import seed_sentence, seed_spread, seed_study
from tests.analysis.test_fit_laws import sweep


def test_seed_spread_pools_the_patch_sizes():
    frame = pd.DataFrame(
        {
            "group": ["a"] * 5 + ["b"] * 2,
            "patch": [2, 2, 1, 1, 1, 2, 1],
            "test_loss": [1.0, 1.2, 0.5, 0.6, 0.7, 1.0, 0.9],
        }
    )
    spread = seed_spread(frame).set_index("group")
    assert spread.loc["a", "spread"] == pytest.approx(math.sqrt((0.02 + 0.02) / 3))
    assert (spread.loc["a", "df"], spread.loc["a", "seeds"]) == (3, 3)
    assert math.isnan(spread.loc["b", "spread"])
    assert spread.loc["b", "df"] == 0


def test_seeds_give_the_spread_and_the_verdict_on_the_smallest_patch(tmp_path):
    frame = finished(load(sweep(tmp_path / "results", seeds=(0, 1, 2), backbones=("deit_nano",))).frame)
    sentence = seed_sentence(frame)
    assert sentence.startswith("1 vs 2 px better, -0.1")
    assert sentence.endswith(" (paired t, 3 seeds)")
    assert len(f"adventurer_nano: {sentence}") <= 80
    worse = frame.assign(test_loss=frame["test_loss"].where(frame["patch"] > 1, 2.0 + 0.01 * frame["seed"]))
    assert seed_sentence(worse).startswith("1 vs 2 px worse, +")
    close = frame[frame["patch"] <= 2].copy()
    close["test_loss"] = 1.0 + 0.1 * close["seed"] * (-1.0) ** close["patch"] + 0.01 * (close["patch"] == 1)
    assert seed_sentence(close).startswith("1 vs 2 px undecided, ")
    assert seed_sentence(close[close["patch"] == 1]) == "one patch size"


def test_single_seeds_are_held_against_the_shipped_seed_study_of_the_very_same_recipe(tmp_path, monkeypatch):
    frame = load(sweep(tmp_path / "results", backbones=("deit_nano",))).frame
    rows = [
        [frame["group"][0], "deit_nano", p, s, 1.0 + 0.01 * s, "2026-01-02", "a box"] for p in (2, 1) for s in range(3)
    ]
    columns = ["group", "backbone", "patch", "seed", "test_loss", "measured", "machine"]
    study = pd.DataFrame(rows, columns=columns)
    monkeypatch.setattr(pd, "read_csv", lambda path: study)
    said = seed_sentence(frame)
    assert said.startswith("1 vs 2 px better, -0.1")
    assert said.endswith("(t test of single runs, with the spread between other seeds)")
    monkeypatch.setattr(pd, "read_csv", lambda path: study.assign(group="another"))
    assert "(one seed; add --seeds 0,1,2)" in seed_sentence(frame)


def test_the_shipped_seed_study_is_of_the_recipes_that_are_shipped():
    from experiments.cli.resolve import resolve

    for name in ("shapes.deit_nano", "shapes.adventurer_nano"):
        study = seed_study(resolve(name, 1, {})[0].group)
        assert study.groupby("patch")["seed"].nunique().loc[[1, 2]].min() >= 3
        assert study["test_loss"].between(0.01, 2.6).all()
