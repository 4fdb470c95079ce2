"""Configurations that differ have run IDs that differ, and a field that is added renames no run."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import pytest

from scaling.config.canonical import VERSION_1, further
from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig
from scaling.config.fields import config_field
from scaling.config.initialization import INITS, FromRun
from scaling.config.objectives import OBJECTIVES, Supervised
from scaling.config.optim import LR_SCHEDULES, OptimConfig
from scaling.config.task import SEGMENTATION_HEADS
from scaling.errors import ConfigError

SEGMENT = make_config(task="segment", head="upernet", slide_stride=8)


@dataclass(frozen=True, kw_only=True)
class Stable:
    """A learning rate that is constant, and falls at the end."""

    kind: ClassVar[str] = "stable"
    decay: float = config_field("share of the run in which it falls", 0.1)


@dataclass(frozen=True, kw_only=True)
class DeepHead:
    """A head without head_channels."""

    kind: ClassVar[str] = "deep"
    layers: int = config_field("layers", 2)


@dataclass(frozen=True, kw_only=True)
class Orthogonal:
    """Initial weights without a source."""

    kind: ClassVar[str] = "orthogonal"
    gain: float = config_field("factor", 1.0)


@dataclass(frozen=True, kw_only=True)
class Imitation:
    """A second term of the loss."""

    kind: ClassVar[str] = "imitation"
    weight: float = config_field("weight of the term", 1.0)


KINDS = {
    "lr_schedule": (LR_SCHEDULES, Stable, "decay", 0.5),
    "head": (SEGMENTATION_HEADS, DeepHead, "layers", 3),
    "init": (INITS, Orthogonal, "gain", 0.5),
}


@pytest.mark.parametrize("union", KINDS)
def test_every_value_of_a_kind_that_is_added_has_a_run_id(union, monkeypatch):
    registry, kind, field, value = KINDS[union]
    monkeypatch.setitem(registry, kind.kind, kind)
    configs = [SEGMENT, edit(SEGMENT, **{union: kind()}), edit(SEGMENT, **{union: kind(**{field: value})})]
    assert len({config.run_id for config in configs}) == len({config.group for config in configs}) == 3
    assert edit(configs[2], **{field: getattr(kind(), field)}).run_id == configs[1].run_id
    assert configs[2].group == edit(configs[2], patch_size=2, seed=1).group
    assert ExperimentConfig.from_dict(configs[2].to_dict()).run_id == configs[2].run_id
    after = [edit(SEGMENT, init=FromRun(config=config)) for config in configs]
    assert len({config.run_id for config in after}) == 3
    assert edit(after[2], init="scratch").run_id == SEGMENT.run_id


def test_the_objectives_with_their_values_are_part_of_the_run_id(monkeypatch):
    monkeypatch.setitem(OBJECTIVES, Imitation.kind, Imitation)
    sums = [(Supervised(), *more) for more in ((), (Imitation(),), (Imitation(weight=0.25),))]
    assert len({make_config(objectives=terms).run_id for terms in sums}) == 3
    assert make_config(objectives=sums[0]).run_id == make_config().run_id


def other(value, field):
    """Another value of a field."""
    choices = field.metadata.get("choices")
    if choices and not callable(choices):
        return next(choice for choice in reversed(choices) if choice != value)
    if field.name in OTHER:
        return OTHER[field.name]
    kind = int if value is None else type(value)
    return {bool: lambda: not value, int: lambda: (value or 0) + 1, float: lambda: value / 2 or 0.25}[kind]()


OTHER = {
    "backbone": "adventurer_pico",
    "img_size": 32,
    "patch_size": 8,
    "embed_patch_size": 8,
    "dataset": "cifar10",
    "data_digest": "0" * 16,
    "class_names": tuple("abc"),
    "auto_augment": "rand-m9",
    "milestones": (1, 2),
    "min_lr": 1e-5,
    "pretrained": "another",
    "weights_digest": "1" * 16,
    "recipes_digest": "2" * 16,
    "config": make_config(lr=0.5),
    "patches": "16,4",
    "eval_patches": (2,),
    "eval_img_sizes": (8,),
    "image_sizes": "8-16",
    "aspect_ratios": "0.5-2",
}


def variants(part):
    """The names of all fields below a part, each with the part in which it has another value."""
    for f in dataclasses.fields(part):
        value = getattr(part, f.name)
        if dataclasses.is_dataclass(value) and f.name != "config":
            for name, changed in variants(value):
                yield name, lambda f=f, changed=changed: dataclasses.replace(part, **{f.name: changed()})
        elif f.compare and not f.metadata.get("registry"):
            yield f.name, lambda f=f, value=value: dataclasses.replace(part, **{f.name: other(value, f)})


BASES = [
    make_config(backbone="adventurer_nano", augment="resized_crop", model_ema_decay=0.9, num_train=64),
    edit(SEGMENT, embed_patch_size=16, max_steps=5, lr_schedule="linear", initial_checkpoint="w"),
    make_config(task="detect", lr_schedule="multistep", milestones=(3, 5), pretrained="vit"),
    make_config(init=FromRun(config=make_config())),
]
LATER = [  # what version 1 could not express
    make_config(patch_embed="flexible", step_shapes="random_patch", pos_embed="grid"),
    make_config(packing="sequences", image_sizes="16-32"),
]


def test_every_field_of_every_kind_is_part_of_the_run_id():
    seen = set()
    for base in (*BASES, *LATER):
        assert (further(base) == {}) is (base not in LATER)
        for name, make in variants(base):
            try:
                changed = make()
            except ConfigError:
                continue
            assert changed != base, name
            assert changed.run_id != base.run_id, name
            seen.add(name)
    assert seen == {name for base in (*BASES, *LATER) for name, _ in variants(base)}


@dataclass(frozen=True, kw_only=True)
class LaterOptim(OptimConfig):
    """OptimConfig with a field that a later version added."""

    nesterov: bool = config_field("look ahead", False)


def test_a_field_that_is_added_changes_no_run_id_at_its_default(monkeypatch):
    now = make_config(lr=0.5)
    monkeypatch.setitem(VERSION_1, LaterOptim, VERSION_1[OptimConfig])
    values = {f.name: getattr(now.optim, f.name) for f in dataclasses.fields(now.optim)}
    later = dataclasses.replace(now, optim=LaterOptim(**values))
    assert (later.run_id, later.group) == (now.run_id, now.group)
    ahead = dataclasses.replace(now, optim=LaterOptim(**values, nesterov=True))
    assert ahead.run_id != now.run_id
