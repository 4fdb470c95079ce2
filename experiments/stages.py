"""Stages of training that begin with each other: a recipe function may give a list of recipes instead of one.

Each is a run of its own with its own record; the next starts from the weights that it left.
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
        elif not (stage.weights or stage.start):  # nothing is transferred to it: one run, however the later ones are
            stage = replace(stage, compat="fixed")
        chain.append(stage)
    return chain


def chain_of(found: Recipe | list[Recipe]) -> list[Recipe]:
    return found if isinstance(found, list) else [found]


def only(chain: list[Recipe], stage: str) -> list[Recipe]:
    """The one stage of a chain that is called so; all of them for "". Raises ConfigError."""
    if not stage:
        return chain
    names = [recipe.stage for recipe in chain]
    if stage not in names:
        there = ", ".join(filter(None, names)) or "none, it is one run"
        raise ConfigError(f"there is no stage {stage!r} in this recipe; its stages: {there}")
    return [chain[names.index(stage)]]


def waits_for(recipe: Recipe) -> str:
    """The run_id of the run that must be finished before this one; empty: none."""
    before = recipe.predecessor
    return before.run_id if before else ""
