import dataclasses
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig
from scaling.config.model import check_patch, nearest_dividing
from scaling.errors import ConfigError

BASE = make_config()


def test_a_recipe_is_frozen_and_equal_values_are_equal():
    assert make_config(patch_size=2) == make_config(patch_size=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        BASE.model.patch_size = 2


def test_json_round_trip_and_canonical_form():
    text = BASE.canonical_json()
    assert ExperimentConfig.from_dict(json.loads(text)) == BASE
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_run_id_is_readable_and_pinned():
    """Pinned: a change of the canonical form would orphan the runs that people have."""
    assert BASE.run_id == "classify-shapes-deit_nano-16px-p4-s0-099f8fe7"
    assert edit(BASE, lr=0.003).run_id != BASE.run_id


def test_run_id_is_the_same_in_another_process():
    """Nothing in it depends on hash randomisation or the order of a set."""
    code = "from scaling.recipe import Recipe; print(Recipe().run_id)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == BASE.run_id


@given(
    st.sampled_from([f.name for f in dataclasses.fields(ExperimentConfig) if f.type in (int, float)]), st.integers(1, 9)
)
def test_every_number_is_part_of_the_run_id(name, change):
    value = getattr(BASE, name)
    other = value + change if isinstance(value, int) else value * (1 - change / 20) + change / 200
    try:
        changed = edit(BASE, **{name: other})
    except ConfigError:
        return
    assert changed.run_id != BASE.run_id


def test_a_group_leaves_out_patch_and_seed_and_nothing_else():
    assert edit(BASE, patch_size=2, seed=7).group == BASE.group
    assert edit(BASE, crop_pct=0.875).group != BASE.group
    assert edit(BASE, epochs=99).group != BASE.group


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"img_size": 224, "patch_size": 5}, "patch 5 does not divide a 224 px image; nearest that do: 4, 7"),
        ({"patch_size": 0}, "patch 0"),
        ({"patch_size": -4}, "patch -4"),
        ({"patch_size": 32}, "patch 32 does not divide a 16 px image; nearest that do: 16"),
        ({"backbone": "deit_bass"}, "did you mean deit_base?"),
        ({"task": "clasify"}, "did you mean classify?"),
        ({"dataset": "shape"}, "did you mean shapes?"),
        ({"epochs": 1.5}, "epochs is 1.5"),
        ({"epochs": True}, "epochs is True"),
        ({"epochs": 0}, "epochs 0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"lr": 0.0}, "lr 0.0"),
        ({"crop_pct": 1.2}, "crop 1.2"),
        ({"seed": -1}, "seed -1"),
        ({"backbone": 3}, "backbone is 3"),
        ({"precision": "16"}, "precision"),
    ],
)
def test_bad_values_are_refused_in_one_line_that_names_them(fields, says):
    with pytest.raises(ConfigError) as e:
        make_config(**fields)
    assert says in str(e.value)
    assert "\n" not in str(e.value)


def test_unknown_fields_are_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="did you mean epochs"):
        ExperimentConfig.from_dict({"epoch": 3})


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
    released = make_config(backbone="adventurer_nano")
    assert "flip" not in released.canonical_json()
    assert make_config(backbone="adventurer_nano", scan_direction="alternate").run_id != released.run_id
    with pytest.raises(ConfigError, match="flip alternate is for Adventurer, not deit"):
        make_config(backbone="deit_nano", scan_direction="alternate")
    with pytest.raises(ConfigError, match="did you mean released"):
        make_config(backbone="adventurer_nano", scan_direction="relesed")
