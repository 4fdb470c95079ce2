"""Version 1, one flat dictionary per run: records, recipe.json, YAML files and option names of before are read here.

from_flat reads a whole dictionary, translate reads single options. flat.py is the way back. Standard library only.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from typing import cast

from scaling.config.data import DataConfig
from scaling.config.experiment import ExperimentConfig
from scaling.config.fields import Part, SomePart, check_name
from scaling.config.flat import DEFAULTS, NAMES, UNSET, VALUES
from scaling.config.initialization import FromFile, FromRun, FromTimm, Scratch
from scaling.config.model import TIMM, LearnedPosEmbed, ModelConfig, SinCosPosEmbed
from scaling.config.optim import Cosine, Epochs, EvaluationConfig, Linear, MultiStep, OptimConfig, ScheduleConfig, Steps
from scaling.config.patch_embeds import ConvPatchEmbed, ExtendedPatchEmbed
from scaling.config.task import (
    CascadeMaskRCNN,
    Classification,
    Detection,
    LinearHead,
    Segmentation,
    SlidingWindow,
    UperNetHead,
    WholeImages,
)
from scaling.errors import ConfigError, NewerRecordError

Given = dict[str, object]
_TO_NEW = {name: {old: new for new, old in values.items()} for name, values in VALUES.items()}


def from_flat(values: Mapping[str, object]) -> ExperimentConfig:
    """The configuration of a dictionary of version 1; what is missing has version 1's default. Raises
    ConfigError, and NewerRecordError for a field that version 1 did not have."""
    if unknown := sorted(set(values) - set(DEFAULTS)):
        raise NewerRecordError(f"unknown field {unknown[0]} of a recipe: a newer version wrote it")
    v = {NAMES.get(name, name): _new(name, value) for name, value in {**DEFAULTS, **values}.items()}
    patch_embed: type[Part] = ConvPatchEmbed if v["embed_patch_size"] is None else ExtendedPatchEmbed
    pos_embed = _one_of("position", v["pos_embed"], {"learned": LearnedPosEmbed, "sincos": SinCosPosEmbed})
    return _part(
        ExperimentConfig,
        v,
        model=_part(ModelConfig, v, patch_embed=_part(patch_embed, v), pos_embed=_part(pos_embed, v)),
        data=_part(DataConfig, v, class_names=names_in_text(cast(str | None, v["class_names"]))),
        task=_task(v),
        optim=_part(OptimConfig, v),
        schedule=_schedule(v),
        evaluation=_part(EvaluationConfig, v),
        init=_init(v),
    )


def _part(cls: type[SomePart], v: Given, **parts: object) -> SomePart:
    """A part of the configuration from the fields that version 1 had of it, by their names of now. parts: other fields.
    The dataclasses check the types."""
    make: Callable[..., SomePart] = cls
    return make(**{**{f.name: v[f.name] for f in dataclasses.fields(cls) if f.name in v}, **parts})


def _one_of(name: str, kind: object, kinds: Mapping[str, type[Part]]) -> type[Part]:
    check_name(name, cast(str, kind), tuple(kinds))
    return kinds[cast(str, kind)]


def _new(name: str, value: object) -> object:
    """A value of version 1 as it is spelled now."""
    if name in UNSET and value in (0, "") and not isinstance(value, bool):
        return None
    return _TO_NEW.get(name, {}).get(value, value) if isinstance(value, str) else value


def names_in_text(text: str | None) -> tuple[str, ...] | None:
    """ "cat, dog" as ("cat", "dog")."""
    return tuple(name.strip() for name in text.split(",") if name.strip()) or None if text is not None else None


def _task(v: Given) -> Part:
    tasks = {"classify": Classification, "segment": Segmentation, "detect": Detection}
    task = _one_of("task", v["task"], tasks)
    head = _part(_one_of("head", v["head"], HEADS[task]), v)
    if task is not Segmentation:
        return _part(task, v, head=head)
    whole = v["slide_stride"] is None
    return _part(task, v, head=head, eval_mode=WholeImages() if whole else _part(SlidingWindow, v))


HEADS: dict[type[Part], dict[str, type[Part]]] = {
    Classification: {"linear": LinearHead},
    Segmentation: {"linear": LinearHead, "upernet": UperNetHead},
    Detection: {"cascade_mask_rcnn": CascadeMaskRCNN},
}


def _schedule(v: Given) -> ScheduleConfig:
    kinds = {"cosine": Cosine, "linear": Linear, "multistep": MultiStep}
    kind = _one_of("schedule", v["lr_schedule"], kinds)
    falling = _part(kind, v, **({"milestones": _milestones(cast(str, v["milestones"]))} if kind is MultiStep else {}))
    length: type[Part] = Epochs if v["max_steps"] is None else Steps
    return _part(ScheduleConfig, v, length=_part(length, v), lr_schedule=falling)


def _milestones(text: str) -> tuple[int, ...]:
    words = text.replace(" ", "").split(",") if text else []
    if not all(word.isdecimal() for word in words):
        rule = "must be whole numbers of epochs, ascending, separated by commas, such as 8,11"
        raise ConfigError(f"milestones {text!r} {rule}")
    return tuple(map(int, words))


def _init(v: Given) -> Part:
    weights, start = cast(str, v["weights"]), cast(str, v["start"])
    if start and weights:
        raise ConfigError(f"weights {weights} and the run that it starts from exclude each other")
    if start:
        return _part(FromRun, v, config=read_predecessor(start))
    if weights.startswith(TIMM):
        return _part(FromTimm, v, pretrained=weights.removeprefix(TIMM))
    if weights or v["weights_digest"]:  # a canonical form with a fingerprint has no path
        return _part(FromFile, v, initial_checkpoint=weights or "?")
    return _part(Scratch, v)


@functools.lru_cache(maxsize=1024)
def read_predecessor(text: str) -> ExperimentConfig:
    """The configuration of a canonical JSON of version 1."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as e:
        raise ConfigError(f"start is not JSON ({e})") from e
    if not isinstance(values, dict):
        raise ConfigError(f"start is not a mapping but {values!r}")
    return from_flat(values)


def translate(options: Mapping[str, object]) -> tuple[dict[str, object], set[str]]:
    """Options of version 1 under the names of now, and which of these are to be ignored where they do not apply: those
    with version 1's default, as files of before list all fields. Values are of the types of version 1's defaults.
    Raises ConfigError."""
    given = {NAMES.get(name, name): _new(name, value) for name, value in options.items() if name not in _SPECIAL}
    if options.get("class_names"):
        given["class_names"] = names_in_text(cast(str, options["class_names"]))
    if "milestones" in options:
        given["milestones"] = _milestones(cast(str, options["milestones"]))
    if "weights" in options:
        given |= _weights(cast(str, options["weights"]))
    idle = {NAMES.get(name, name) for name, value in options.items() if name in DEFAULTS and value == DEFAULTS[name]}
    return given, idle


_SPECIAL = ("weights", "start", "data_digest", "weights_digest")


def _weights(weights: str) -> dict[str, object]:
    if weights.startswith(TIMM):
        return {"pretrained": weights.removeprefix(TIMM)}
    return {"initial_checkpoint": weights} if weights else {"init": "scratch"}
