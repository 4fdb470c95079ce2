"""Multi-stage training: a recipe function may return a list of recipes instead of one.

Each is a run with a record of its own; the next one starts from its weights.
"""

from collections.abc import Callable

from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.config.initialization import FromRun
from scaling.config.patch_size import check_patch
from scaling.errors import ConfigError

Function = Callable[..., ExperimentConfig | list[ExperimentConfig]]


def linked(stages: list[ExperimentConfig]) -> list[ExperimentConfig]:
    """The stages, each starting from the one before it."""
    chain: list[ExperimentConfig] = []
    for stage in stages:
        check_patch(stage.model.img_size, stage.model.patch_size)
        if chain:
            init = FromRun(config=chain[-1], pos_embed_resampling=stage.init.pos_embed_resampling)
            stage = edit(stage, init=init)
        chain.append(stage)
    return chain


def chain_of(found: ExperimentConfig | list[ExperimentConfig]) -> list[ExperimentConfig]:
    """The stages that a recipe returned. Raises ConfigError for what is no configuration."""
    chain = found if isinstance(found, list) else [found]
    if wrong := [one for one in chain if not isinstance(one, ExperimentConfig)]:
        raise ConfigError(f"the recipe returned {wrong[0]!r}; make_config and edit of scaling.config.edit make recipes")
    return chain


def only(chain: list[ExperimentConfig], stage: str | None) -> list[ExperimentConfig]:
    """The stage of a chain with this name; all of them for None. Raises ConfigError for an unknown name."""
    if not stage:
        return chain
    names = [config.stage or "" for config in chain]
    if stage not in names:
        there = ", ".join(filter(None, names)) or "none, it is one run"
        raise ConfigError(f"this recipe has no stage {stage!r}; its stages: {there}")
    return [chain[names.index(stage)]]


def waits_for(config: ExperimentConfig) -> str:
    """The run_id of the run that must be finished before this one; empty: none."""
    before = config.predecessor
    return before.run_id if before else ""


def last_stages(runs: list[ExperimentConfig]) -> list[ExperimentConfig]:
    """The runs that no other one starts from."""
    earlier = {run.predecessor for run in runs}
    return [run for run in runs if run not in earlier]
