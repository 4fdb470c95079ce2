"""Groups of one backbone are told apart by the fields in which they differ, not by a hash."""

from dataclasses import replace

import pandas as pd
import pytest

from analysis.records.group_labels import labels
from scaling.recipe import Recipe


def named(*recipes):
    rows = [{**recipe.to_dict(), "group": recipe.group} for recipe in recipes]
    found = labels(pd.DataFrame(rows))
    return [found[recipe.group] for recipe in recipes]


BASE = Recipe()


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ([{}], ["deit_nano"]),
        ([{"patch": 2, "seed": 3}], ["deit_nano"]),
        ([{"lr": 1e-3}, {"lr": 3e-3}], ["deit_nano lr 0.001", "deit_nano lr 0.003"]),
        ([{"rand_augment": "", "augment": "resized_crop"}, {"augment": "flip"}], None),
        ([{"lr": 1e-3}, {"lr": 1e-3, "backbone": "adventurer_nano"}], ["deit_nano", "adventurer_nano"]),
        ([{}, {"epochs": 20, "batch": 8}], ["deit_nano epochs 10, batch 64", "deit_nano epochs 20, batch 8"]),
        ([{"image": 32}, {"lr": 1e-3}], ["deit_nano shapes 32 px", "deit_nano shapes 16 px"]),
        ([{"val_split": 0.0}, {"val_split": 0.1}], ["deit_nano val_split 0", "deit_nano val_split 0.1"]),
        (
            [{}, {"ema": 0.99, "judged": "averaged", "clip": 2.0, "lr": 1e-3, "epochs": 3}],
            ["deit_nano epochs 10", "deit_nano epochs 3"],
        ),
    ],
)
def test_the_fields_that_differ_are_the_name(changes, names):
    found = named(*(replace(BASE, **change) for change in changes))
    assert found == (names or ["deit_nano augment resized_crop", "deit_nano augment flip"])


def test_of_what_differs_in_files_alone_the_hash_is_the_name():
    recipes = [replace(BASE, data="folder", data_root=f"/{n}", data_digest=16 * n) for n in "ab"]
    assert named(*recipes) == [f"deit_nano {recipe.group[-8:]}" for recipe in recipes]


def test_every_group_has_a_name_of_its_own_whatever_it_differs_in():
    changes = [{}, {"lr": 1e-3}, {"lr": 1e-3, "epochs": 3}, {"image": 32, "lr": 1e-3}, {"image": 32}, {"crop": 0.9}]
    recipes = [replace(BASE, **change) for change in changes]
    found = named(*recipes)
    assert len(set(found)) == len(recipes)
    assert not any(recipe.group[-8:] in name for recipe, name in zip(recipes, found, strict=True))
