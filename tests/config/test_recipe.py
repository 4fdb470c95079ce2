import dataclasses
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.errors import ConfigError
from scaling.recipe import Recipe, check_patch, nearest_dividing

BASE = Recipe()


def test_a_recipe_is_frozen_and_equal_values_are_equal():
    assert Recipe(patch=2) == Recipe(patch=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        BASE.patch = 2


def test_json_round_trip_and_canonical_form():
    text = BASE.canonical_json()
    assert Recipe.from_dict(json.loads(text)) == BASE
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_run_id_is_readable_and_pinned():
    """Pinned: a change of the canonical form would orphan the runs that people have."""
    assert BASE.run_id == "classify-shapes-deit_nano-16px-p4-s0-099f8fe7"
    assert dataclasses.replace(BASE, lr=0.003).run_id != BASE.run_id


def test_run_id_is_the_same_in_another_process():
    """Nothing in it depends on hash randomisation or the order of a set."""
    code = "from scaling.recipe import Recipe; print(Recipe().run_id)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == BASE.run_id


@given(st.sampled_from([f.name for f in dataclasses.fields(Recipe) if f.type in (int, float)]), st.integers(1, 9))
def test_every_number_is_part_of_the_run_id(name, change):
    value = getattr(BASE, name)
    other = value + change if isinstance(value, int) else value * (1 - change / 20) + change / 200
    try:
        changed = dataclasses.replace(BASE, **{name: other})
    except ConfigError:
        return
    assert changed.run_id != BASE.run_id


def test_a_group_leaves_out_patch_and_seed_and_nothing_else():
    assert dataclasses.replace(BASE, patch=2, seed=7).group == BASE.group
    assert dataclasses.replace(BASE, crop=0.875).group != BASE.group
    assert dataclasses.replace(BASE, epochs=99).group != BASE.group


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"image": 224, "patch": 5}, "patch 5 does not divide a 224 px image; nearest that do: 4, 7"),
        ({"patch": 0}, "patch 0"),
        ({"patch": -4}, "patch -4"),
        ({"patch": 32}, "patch 32 does not divide a 16 px image; nearest that do: 16"),
        ({"backbone": "deit_bass"}, "did you mean deit_base?"),
        ({"task": "clasify"}, "did you mean classify?"),
        ({"data": "shape"}, "did you mean shapes?"),
        ({"epochs": 1.5}, "epochs is 1.5"),
        ({"epochs": True}, "epochs is True"),
        ({"epochs": 0}, "epochs 0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"lr": 0.0}, "lr 0.0"),
        ({"crop": 1.2}, "crop 1.2"),
        ({"seed": -1}, "seed -1"),
        ({"backbone": 3}, "backbone is 3"),
        ({"precision": "16"}, "precision"),
    ],
)
def test_bad_values_are_refused_in_one_line_that_names_them(fields, says):
    with pytest.raises(ConfigError) as e:
        Recipe(**fields)
    assert says in str(e.value)
    assert "\n" not in str(e.value)


def test_unknown_fields_are_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="did you mean epochs"):
        Recipe.from_dict({"epoch": 3})


@given(st.integers(1, 512), st.integers(1, 600))
def test_the_patches_that_an_error_names_do_divide(image, patch):
    try:
        check_patch(image, patch)
    except ConfigError:
        near = nearest_dividing(image, patch)
        assert near
        assert all(image % p == 0 for p in near)
        assert not any(image % p == 0 for p in range(min(near) + 1, patch) if p < patch)
    else:
        assert image % patch == 0


def test_flip_is_part_of_a_run_and_leaves_the_ids_of_earlier_runs_as_they_were():
    released = Recipe(backbone="adventurer_nano")
    assert "flip" not in released.canonical_json()
    assert Recipe(backbone="adventurer_nano", flip="alternate").run_id != released.run_id
    with pytest.raises(ConfigError, match="flip alternate is for Adventurer, not deit"):
        Recipe(backbone="deit_nano", flip="alternate")
    with pytest.raises(ConfigError, match="did you mean released"):
        Recipe(backbone="adventurer_nano", flip="relesed")
