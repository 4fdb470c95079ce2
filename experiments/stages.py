"""Multi-stage training: a recipe function may return a list of recipes instead of one.

Each is a run with a record of its own; the next one starts from its weights.
"""

from collections.abc import Callable
from dataclasses import replace

from scaling.errors import ConfigError
from scaling.recipe import Recipe, check_patch

Function = Callable[..., Recipe | list[Recipe]]


def linked(stages: list[Recipe]) -> list[Recipe]:
    """The stages, each starting from the one before it."""
    chain: list[Recipe] = []
    for stage in stages:
        check_patch(stage.image, stage.patch)
        if chain:
            stage = replace(stage, start=chain[-1].canonical_json())
        elif not (stage.weights or stage.start):  # it starts from scratch: one run, whatever compat the later ones have
            stage = replace(stage, compat="fixed")
        chain.append(stage)
    return chain


def chain_of(found: Recipe | list[Recipe]) -> list[Recipe]:
    return found if isinstance(found, list) else [found]


def only(chain: list[Recipe], stage: str) -> list[Recipe]:
    """The stage of a chain with this name; all of them for "". Raises ConfigError for an unknown name."""
    if not stage:
        return chain
    names = [recipe.stage for recipe in chain]
    if stage not in names:
        there = ", ".join(filter(None, names)) or "none, it is one run"
        raise ConfigError(f"this recipe has no stage {stage!r}; its stages: {there}")
    return [chain[names.index(stage)]]


def waits_for(recipe: Recipe) -> str:
    """The run_id of the run that must be finished before this one; empty: none."""
    before = recipe.predecessor
    return before.run_id if before else ""
