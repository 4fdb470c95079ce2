import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.config.canonical import further
from scaling.config.edit import edit, edit_where, make_config
from scaling.config.experiment import ExperimentConfig
from scaling.config.flat import DEFAULTS, FIRST, LATER, NAMES, UNSET, to_flat
from scaling.config.legacy import from_flat, translate
from scaling.config.reference import by_leaf, rows
from scaling.errors import ConfigError

GOLDEN = json.loads((Path(__file__).parent / "golden_ids.json").read_text())


@pytest.mark.parametrize("name", GOLDEN["flat"])
def test_a_recipe_of_version_1_keeps_its_ids_and_its_dictionary(name):
    ids = GOLDEN["recipes"][f"{name} 8"]
    for values, (run_id, group) in zip(GOLDEN["flat"][name], ids, strict=True):
        config = from_flat(values)
        assert (config.run_id, config.group) == (run_id, group)
        assert from_flat(to_flat(config)) == config
        assert {k: v for k, v in to_flat(config).items() if k in FIRST or v != LATER[k]} == values
        assert ExperimentConfig.from_dict(json.loads(json.dumps(config.to_dict()))).run_id == run_id


CHOICES = {
    "common": {
        "seed": [0, 7],
        "patch": [2, 4],
        "extend": [0, 8],
        "position": ["learned", "sincos"],
        "clip": [0.0, 0.5],
        "ema": [0.0, 0.99],
        "steps": [0, 9],
        "warmup_steps": [0, 3],
        "eval_every": [0, 2],
        "lr_batch": [0, 32],
        "train_images": [0, 64],
        "class_names": ["", ",".join("abcdefghijkl")],
        "data_root": ["", "/data"],
        "data_digest": ["", "0" * 16],
        "weights": ["", "timm:vit", "/w.pth"],
        "val_split": [0.0, 0.1],
        "stage": ["", "finetune"],
    },
    "classify": {
        "head_channels": [192, 48],
        "mixup": [0.0, 0.8],
        "repeats": [1, 3],
        "crop": [1.0, 0.9],
        "erasing": [0.0, 0.25],
    },
    "segment": {"head": ["linear", "upernet"], "head_channels": [192, 48], "slide": [0, 8], "unlabelled": [255, 0]},
    "detect": {"head": ["cascade"], "long_side": [0, 32], "empty_images": ["drop", "keep"]},
}


@st.composite
def flat_values(draw):
    task = draw(st.sampled_from(["classify", "segment", "detect"]))
    fields = {**CHOICES["common"], **CHOICES[task]}
    values = {name: draw(st.sampled_from(those)) for name, those in fields.items()}
    if draw(st.booleans()):
        values["compat"] = "official"
    values |= draw(
        st.sampled_from([{}, {"schedule": "poly", "min_lr": 1e-5}, {"schedule": "steps", "milestones": "3,5"}])
    )
    return {"task": task, **values}


@settings(max_examples=60, deadline=None)
@given(flat_values())
def test_the_way_from_version_1_and_back_changes_nothing(values):
    config = from_flat(values)
    assert not further(config)
    assert to_flat(config) == {**DEFAULTS, **values}
    again = from_flat(to_flat(config))
    assert (again, again.run_id) == (config, config.run_id)


def test_the_location_stands_for_the_contents_until_these_are_known():
    """As in version 1, so that folders of before are found under their names."""
    here, there = make_config(dataset="cifar10", data_root="/a"), make_config(dataset="cifar10", data_root="/b")
    assert here.run_id != there.run_id
    assert from_flat(to_flat(here)).data.data_root == "/a"


def test_what_version_1_could_not_express_is_part_of_the_hash():
    named = make_config(class_names=("a, b", "c", "d"))
    assert further(named)
    assert not further(make_config())
    assert named.run_id != make_config(class_names=tuple("abc")).run_id
    assert named.group == edit(named, seed=3, patch_size=2).group != named.run_id
    assert named.run_id.startswith("classify-shapes-deit_nano-16px-p4-s0-")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "unknown field epoch of a recipe"),
        ({"task": "segment", "head": "cascade"}, "unknown head"),
        ({"schedule": "step"}, "unknown schedule"),
        ({"schedule": "steps", "milestones": "8,x"}, "ascending, separated by commas"),
        ({"start": "{"}, "start is not JSON"),
        ({"start": "[]"}, "start is not a mapping"),
        ({"weights": "w", "start": "{}"}, "exclude each other"),
    ],
)
def test_a_damaged_dictionary_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        from_flat(values)


def applied(config, options, given):
    translated, idle = translate(options)
    return edit_where(config, {**translated, **given}, idle - set(given))


def test_a_file_that_lists_all_fields_of_version_1_is_applied():
    """As --print-recipe printed it: idle fields of other tasks are in it."""
    wanted = from_flat({"task": "segment", "image": 32, "head": "upernet", "slide": 8, "steps": 9, "schedule": "poly"})
    assert applied(make_config(), to_flat(wanted), {}) == wanted
    back = applied(wanted, to_flat(make_config()), {})
    assert back == make_config()


def test_an_option_of_version_1_that_does_not_apply_is_refused_unless_it_has_its_default():
    with pytest.raises(ConfigError, match="slide_stride is not an option of the task classify"):
        applied(make_config(), {"slide": 8}, {})
    assert applied(make_config(), {"slide": 0, "min_lr": 0.0, "weights": ""}, {}) == make_config()
    assert applied(make_config(), {"patch": 2}, {"patch_size": 8}).model.patch_size == 8
    assert applied(make_config(), {"weights": "timm:vit"}, {}).init.pretrained == "vit"


def test_every_name_of_version_1_has_a_name_of_now():
    now = set(by_leaf(rows()))
    assert set(NAMES) <= set(DEFAULTS)
    assert {NAMES.get(name, name) for name in DEFAULTS} - now <= {"weights", "start"}


def test_what_version_1_did_not_set_is_none_now_or_another_kind():
    found = by_leaf(rows())
    kinds = {"steps", "slide", "extend"}  # set, they make a run of steps, a sliding window, an extended embedding
    others = {name for name in DEFAULTS.keys() - kinds if any(r.optional for r in found.get(NAMES.get(name, name), ()))}
    assert others - {"data_version"} == UNSET - kinds
    assert all(not found[NAMES[name]][0].optional for name in kinds)
    assert from_flat({}) == from_flat(DEFAULTS)
