"""Options that act on one stage of a multi-stage recipe or study, or choose among its stages; all others act on all."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple, cast

from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.config.initialization import FromFile, FromRun, FromTeacher, FromTimm, Scratch
from scaling.errors import ConfigError

INIT = ("init", "initial_checkpoint", "pretrained", "load_head")  # fields of the first stage alone


class StageOptions(NamedTuple):
    """The fields that a user set, by what they act on."""

    image: dict[str, int]  # the argument of the recipe or the study that its stages depend on, where it has one [px]
    stage: str | None  # the only stage that is wanted; None: all
    first: dict[str, object]  # initial weights of the first stage
    resampling: str | None  # of the position embedding, in all stages that start from weights
    shared: dict[str, object]  # fields of all stages


def stage_options(function: Callable[..., object], given: Mapping[str, object]) -> StageOptions:
    """function: the recipe or the study; given: name -> value."""
    shared = dict(given)
    # The casts: options were parsed by the types of their fields.
    image = {"image": cast(int, shared.pop("img_size"))} if takes_image(function) and "img_size" in given else {}
    first = {name: shared.pop(name) for name in INIT if name in given}
    stage, resampling = (cast(str | None, shared.pop(name, None)) for name in ("stage", "pos_embed_resampling"))
    return StageOptions(image, stage, first, resampling, shared)


def takes_image(function: Callable[..., object]) -> bool:
    """Whether the stages of a recipe or a study depend on its image size."""
    return "image" in inspect.signature(function).parameters


def resampled(stages: list[ExperimentConfig], resampling: str | None, required: bool) -> list[ExperimentConfig]:
    """The stages with another way to resample position embeddings, where they start from weights. Raises ConfigError
    where none does, if that is required."""
    if resampling is None:
        return stages
    if required and resampling != "aligned" and all(isinstance(stage.init, Scratch) for stage in stages):
        raise ConfigError("pos_embed_resampling needs initial weights: set --initial-checkpoint or --pretrained")
    return [_resampled(stage, resampling) for stage in stages]


def _resampled(config: ExperimentConfig, resampling: str) -> ExperimentConfig:
    if isinstance(config.init, FromRun) and type(config.init.config.task) is type(config.task):
        before = _resampled(config.init.config, resampling)
        return edit(config, init=replace(config.init, config=before, pos_embed_resampling=resampling))
    return (
        edit(config, pos_embed_resampling=resampling)
        if isinstance(config.init, FromFile | FromTimm | FromRun | FromTeacher)
        else config
    )
