import dataclasses
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.config.data import DataConfig
from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig
from scaling.config.initialization import FromFile, FromRun
from scaling.config.objectives import Supervised
from scaling.config.patch_size import check_patch, nearest_dividing
from scaling.config.reference import rows
from scaling.config.task import Classification
from scaling.errors import ConfigError, NewerRecordError

BASE = ExperimentConfig()


def test_a_configuration_is_frozen_and_equal_values_are_equal():
    assert make_config(patch_size=2) == make_config(patch_size=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        BASE.seed = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        BASE.model.drop_path = 0.2  # type: ignore[misc]


def test_run_id_is_the_same_in_another_process():
    """Nothing in it depends on hash randomisation or the order of a set."""
    code = "from scaling.config.experiment import ExperimentConfig; print(ExperimentConfig().run_id)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == BASE.run_id == "classify-shapes-deit_nano-16px-p4-s0-8a4c8ca9"


NUMBERS = [row for row in rows() if row.type in ("int", "float") and not row.of]


@given(st.sampled_from(NUMBERS), st.integers(1, 9))
def test_every_number_is_part_of_the_run_id(row, change):
    value = row.default if row.default is not None else 3
    other = value + change if row.type == "int" else value * (1 - change / 20) + change / 200
    try:
        changed = edit(BASE, **{row.leaf: other})
    except ConfigError:
        return
    assert changed.run_id != BASE.run_id


def test_a_group_leaves_out_patch_size_and_seed_and_nothing_else():
    assert edit(BASE, patch_size=2, seed=7).group == BASE.group
    for other in ({"crop_pct": 0.875}, {"epochs": 99}, {"stage": "pretrain"}, {"backbone": "deit_tiny"}):
        assert edit(BASE, **other).group != BASE.group


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"img_size": 224, "patch_size": 5}, "patch 5 does not divide a 224 px image; nearest that do: 4, 7"),
        ({"patch_size": 0}, "patch 0"),
        ({"patch_size": 32}, "patch 32 does not divide a 16 px image; nearest that do: 16"),
        ({"backbone": "deit_bass"}, "did you mean deit_base?"),
        ({"task": "clasify"}, "did you mean classify?"),
        ({"dataset": "shape"}, "did you mean shapes?"),
        ({"epochs": 1.5}, "epochs is 1.5"),
        ({"epochs": True}, "epochs is True"),
        ({"epochs": -1}, "epochs -1 must be 0 or more"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"lr": 0.0}, "lr 0.0 must be above 0"),
        ({"crop_pct": 1.2}, "crop_pct 1.2 must be in (0, 1]"),
        ({"seed": -1}, "seed -1"),
        ({"backbone": 3}, "backbone is 3"),
        ({"precision": "16"}, "precision"),
        ({"num_classes": 1}, "num_classes 1 must be at least 2"),
        ({"class_names": ("cat", "dog")}, "class_names has 2 names, num_classes is 3"),
        ({"scan_direction": "alternate"}, "scan_direction alternate is for Adventurer, not deit"),
        ({"backbone": "timm:vit", "pos_embed": "sincos"}, "add --pos-embed learned"),
        ({"auto_augment": "rand-m9"}, "needs augment to be one of"),
        ({"eval_weights": "ema"}, "set model_ema_decay"),
        ({"min_lr": 0.1}, "above the peak learning rate"),
        ({"lr_schedule": "multistep", "milestones": ()}, "milestones '' must be whole numbers of epochs, ascending"),
        ({"lr_schedule": "multistep", "milestones": (3, 2)}, "ascending"),
        ({"task": "segment", "slide_stride": 20}, "more than the window"),
        ({"task": "segment", "num_classes": 256}, "at most 255"),
        ({"embed_patch_size": 2}, "is below patch_size 4"),
        ({"data_digest": "xyz"}, "16 hex digits"),
    ],
)
def test_bad_values_are_refused_in_one_line_that_names_them(fields, message):
    with pytest.raises(ConfigError) as e:
        make_config(**fields)
    assert message in str(e.value)
    assert "\n" not in str(e.value)


@given(st.integers(1, 512), st.integers(1, 600))
def test_the_patches_that_an_error_names_divide_the_image(image, patch):
    try:
        check_patch(image, patch)
    except ConfigError:
        near = nearest_dividing(image, patch)
        assert near
        assert all(image % p == 0 for p in near)
        assert not any(image % p == 0 for p in range(min(near) + 1, patch) if p < patch)
    else:
        assert image % patch == 0


def test_the_location_of_data_and_weights_is_not_part_of_equality():
    here = edit(BASE, data_root="/a", initial_checkpoint="/a/w")
    there = edit(BASE, data_root="/b", initial_checkpoint="/b/w")
    assert here == there
    digests = {"data_digest": "0" * 16, "weights_digest": "1" * 16}
    assert edit(here, **digests).run_id == edit(there, **digests).run_id
    assert edit(here, **digests).group == edit(there, **digests).group


def test_a_run_that_starts_from_another_has_its_backbone_patch_size_and_classes():
    before = make_config(stage="pretrain")
    after = edit(before, stage="finetune", init=FromRun(config=before))
    assert after.predecessor == before
    for field, value in {"patch_size": 2, "backbone": "deit_tiny", "num_classes": 4}.items():
        with pytest.raises(ConfigError, match=f"{field} .* differs from"):
            edit(after, **{field: value})
    assert edit(after, task="segment", num_classes=4).predecessor == before


def test_the_nested_form_has_every_field_and_reads_back():
    config = edit(BASE, task="segment", head="upernet", initial_checkpoint="w.pth", class_names=tuple("abc"))
    values = json.loads(json.dumps(config.to_dict()))
    assert values["schema"] == 2
    assert ExperimentConfig.from_dict(values) == config
    assert ExperimentConfig.from_dict(values).init.initial_checkpoint == "w.pth"
    del values["optim"]["beta2"], values["packing"]
    assert ExperimentConfig.from_dict(values) == config


@pytest.mark.parametrize(
    "values",
    [
        {"schema": 3},
        {"optim": {"lr": 0.1, "lion": True}},
        {"packing": {"kind": "navit"}},
        {"task": {"kind": "classify", "slide_stride": 3}},
    ],
)
def test_what_a_newer_version_wrote_is_refused_as_such(values):
    with pytest.raises(NewerRecordError):
        ExperimentConfig.from_dict(values)


@pytest.mark.parametrize(
    "values",
    [
        3,
        [],
        {"optim": 3},
        {"packing": "none"},
        {"optim": {"lr": "x"}},
        {"objectives": {"kind": "supervised"}},
        {"objectives": []},
        {"objectives": 2 * [{"kind": "supervised"}]},
        {"task": [{"kind": "classify"}]},
    ],
)
def test_what_is_not_a_configuration_is_refused(values):
    with pytest.raises(ConfigError):
        ExperimentConfig.from_dict(values)


def test_parts_check_themselves():
    with pytest.raises(ConfigError, match="num_train 0"):
        DataConfig(num_train=0)
    with pytest.raises(ConfigError, match="initial_checkpoint '' is empty"):
        FromFile(initial_checkpoint="")
    with pytest.raises(ConfigError, match="model is 3"):
        ExperimentConfig(model=3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="task is 3, which is none of: classify, segment, detect"):
        ExperimentConfig(task=3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="which is none of: classify, segment, detect"):
        ExperimentConfig(task=(Classification(),))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="which is not a tuple of: supervised"):
        ExperimentConfig(objectives=Supervised())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="use --pretrained vit"):
        FromFile(initial_checkpoint="timm:vit")
