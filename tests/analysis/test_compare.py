"""One's own runs find the published numbers that are of the same thing, and only these."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.paper.comparison import join_with_published, own_runs, paper_model, published, published_ap, series_labels
from analysis.records.published import table1_cells
from analysis.records.run_set import load
from experiments.recipes import ade20k, coco, imagenet
from scaling.recipe import Recipe
from tests.analysis.test_runs import save

TOP1 = {"top1": ("top-1", "%")}
KEYS = ["model", "input_px", "data"]


def row(recipe: Recipe, **fields) -> dict:
    return {**recipe.to_dict(), **fields}


def accuracies(results, found: dict[Recipe, float | None]) -> pd.DataFrame:
    """Runs of these accuracies [%]; None: failed."""
    for recipe, top1 in found.items():
        save(results, recipe, None if top1 is None else 1.0, metrics={} if top1 is None else {"top1": top1})
    return load(results).frame


def compared(frame: pd.DataFrame) -> pd.DataFrame:
    return join_with_published(table1_cells(), own_runs(frame, "classify"), KEYS, TOP1)


def at(frame: pd.DataFrame, model: str, image: int, patch: int) -> pd.DataFrame:
    return frame[(frame["model"] == model) & (frame["input_px"] == image) & (frame["patch"] == patch)]


@pytest.mark.parametrize(
    ("run", "number"),
    [
        (imagenet.deit_base(8, 128), 81.0),
        (imagenet.adventurer_base(4, 64)[-1], 80.0),
        (imagenet.adventurer_base(4, 224)[-1], 84.3),
        (imagenet.adventurer_tiny(1, 224)[-1], 81.9),
        (replace(ade20k.adventurer_tiny(16), head="upernet"), 41.3),
        (ade20k.adventurer_base(2), 46.8),
        (coco.adventurer_tiny(32), 44.7),
        (coco.adventurer_base(64), 44.1),
    ],
    ids=lambda value: value.run_id if isinstance(value, Recipe) else "",
)
def test_a_recipe_of_the_paper_finds_its_number(run, number):
    assert published(row(run)) == number
    assert published(row(replace(run, lr=3e-4, seed=7))) == number  # settings are one's own affair


@pytest.mark.parametrize(
    "run",
    [
        imagenet.adventurer_base(4, 128)[0],  # a pretraining alone
        imagenet.adventurer_base(4, 224)[1],  # an intermediate stage
        imagenet.deit_base(1, 128),  # an empty cell
        replace(imagenet.deit_base(8, 128), train_images=1000),
        replace(imagenet.deit_base(8, 128), test_images=1000),
        replace(imagenet.deit_base(8, 128), data="folder"),
        replace(imagenet.deit_base(8, 128), weights="other.pth"),  # does not begin from scratch
        replace(imagenet.deit_base(8, 128), extend=32),
        replace(imagenet.deit_base(8, 128), backbone="deit_nano"),
        replace(imagenet.deit_base(8, 128), backbone="timm:vit_base", drop_path=0.0),
        replace(ade20k.adventurer_tiny(16), image=256),
        replace(ade20k.adventurer_tiny(16), start=""),
        replace(ade20k.adventurer_tiny(16), data="camvid"),
        coco.adventurer_base_lsj(16),
        replace(coco.adventurer_tiny(16), start=""),
        replace(coco.adventurer_tiny(16), long_side=0),
        replace(coco.adventurer_tiny(16), data="nuclei"),
    ],
    ids=lambda run: run.run_id,
)
def test_what_the_paper_did_not_do_has_no_number(run):
    assert math.isnan(published(row(run)))


def test_detection_has_all_numbers_of_table_3():
    run = row(coco.adventurer_tiny(8))
    assert [published_ap(run, metric) for metric in ("box AP50", "mask AP", "mask AP75")] == [66.7, 41.7, 45.0]


def test_a_run_that_the_paper_did_at_other_sizes_only_keeps_the_models_name():
    assert paper_model(row(imagenet.deit_base(14, 224))) == "DeiT-Base"
    assert paper_model(row(imagenet.adventurer_base(4, 128)[0])) == ""


def test_the_mean_over_seeds_stands_beside_the_published_number(tmp_path):
    runs = {replace(imagenet.deit_base(8, 128), seed=seed): top1 for seed, top1 in enumerate((80.0, 81.0, 82.5))}
    (found,) = at(compared(accuracies(tmp_path, runs)), "DeiT-Base", 128, 8).to_dict("records")
    assert (found["published"], found["seeds"], found["group"]) == (81.0, 3, next(iter(runs)).group)
    assert found["own"] == pytest.approx(243.5 / 3)
    assert found["difference"] == pytest.approx(243.5 / 3 - 81.0)


def test_noise_is_students_interval_of_one_run_less_a_mean(tmp_path):
    scores = {16: (78.0, 78.2), 8: (80.0, 81.0, 82.0)}
    runs = {
        replace(imagenet.deit_base(patch, 128), seed=seed): top1
        for patch, its in scores.items()
        for seed, top1 in enumerate(its)
    }
    found = compared(accuracies(tmp_path, runs))
    spread = math.sqrt((0.1**2 + 0.1**2 + 1.0 + 1.0) / 3)  # squares about the means of the patches; 5 runs, 2 means
    t = 3.182446305284263  # of 3 degrees of freedom, 97.5 %
    for patch, seeds in ((16, 2), (8, 3)):
        noise = at(found, "DeiT-Base", 128, patch)["noise"].iloc[0]
        assert noise == pytest.approx(t * spread * math.sqrt(1 + 1 / seeds))


@pytest.mark.parametrize(
    ("scores", "mark"),
    [
        ((81.0,), ""),  # no difference
        ((80.0,), "?"),
        ((80.0, 80.1), ""),  # noise 12.706 x 0.0707 x 1.2247 = 1.10, difference 0.95
        ((79.8, 79.9), "*"),  # the same noise, difference 1.15
    ],
)
def test_a_difference_beyond_the_noise_is_marked(tmp_path, scores, mark):
    runs = {replace(imagenet.deit_base(8, 128), seed=seed): top1 for seed, top1 in enumerate(scores)}
    found = at(compared(accuracies(tmp_path, runs)), "DeiT-Base", 128, 8).iloc[0]
    assert found["mark"] == mark


def test_what_is_missing_is_missing_on_both_sides(tmp_path):
    runs = {
        imagenet.deit_base(32, 128): 70.0,
        imagenet.deit_base(16, 128): None,
        replace(imagenet.deit_base(4, 128), data="folder"): 60.0,
    }
    found = compared(accuracies(tmp_path, runs))
    assert len(found) == 24 + 2
    new = found[found["published"].isna()]
    assert new[["model", "data", "patch", "own"]].to_numpy().tolist() == [
        ["DeiT-Base", "imagenet", 32, 70.0],
        ["deit_base", "folder", 4, 60.0],
    ]
    assert new["difference"].isna().all()
    assert found.loc[found["published"].notna(), "own"].isna().all()
    assert set(found["mark"]) == {""}


def test_without_runs_there_are_the_published_numbers_alone():
    found = compared(None)
    assert sorted(found["published"]) == sorted(table1_cells()["published"])
    assert found[["own", "difference", "noise"]].isna().all(axis=None)
    assert found["own"].dtype == np.float64
    assert set(found["seeds"]) == {0}


def test_several_groups_on_one_published_row_are_rows_of_their_own_and_told_apart(tmp_path):
    plain = [imagenet.deit_base(patch, 128) for patch in (16, 8)]
    runs = {**dict.fromkeys(plain, 80.0), **{replace(run, lr=1e-3): 79.0 for run in plain}}
    found = at(compared(accuracies(tmp_path, runs)), "DeiT-Base", 128, 8)
    assert sorted(found["label"]) == ["lr 0.0005", "lr 0.001"]
    assert found["published"].tolist() == [81.0, 81.0]
    assert sorted(found["own"]) == [79.0, 80.0]
    assert found["group"].nunique() == 2


def test_groups_that_differ_in_much_have_a_label_all_the_same(tmp_path):
    run = imagenet.deit_base(8, 128)
    runs = {run: 80.0, replace(run, lr=1e-3, epochs=5, batch=64, crop=0.875): 79.0, replace(run, epochs=9): 78.0}
    names = series_labels(own_runs(accuracies(tmp_path, runs), "classify"), KEYS)
    assert len(set(names)) == 3
    assert all(names)


def test_a_stage_that_stands_alone_says_so(tmp_path):
    runs = dict.fromkeys(imagenet.adventurer_base(8, 128), 80.0)
    found = compared(accuracies(tmp_path, runs))
    assert found.loc[found["own"].notna(), ["model", "label"]].to_numpy().tolist() == [
        ["Adventurer-Base", ""],
        ["adventurer_base", "pretrain"],
    ]
