"""The only file of tests/golden that imports the code under test: when that is moved or renamed, this file follows and
the expected values stay.

A recipe is passed around as its flat mapping of field names to values (version 1 of recipe.json), which the golden
files were taken with.
"""

import inspect
from typing import Any

from experiments import cli
from experiments.chain import chain_of
from scaling.recipe import BadInput, Recipe

Flat = dict[str, Any]


def recipe_names() -> list[str]:
    """Every shipped recipe, such as "imagenet.deit_base"."""
    return sorted(cli.recipes())


def takes_image(name: str) -> bool:
    """Whether the recipe is a function of the image size too."""
    return "image" in inspect.signature(cli.recipes()[name]).parameters


def stages(name: str, patch: int, **image: int) -> list[Flat] | None:
    """The stages of a shipped recipe at a patch size [px]; None where the patch does not fit its image."""
    try:
        return [stage.to_dict() for stage in chain_of(cli.recipes()[name](patch, **image))]
    except BadInput:
        return None


def identity(flat: Flat) -> tuple[str, str]:
    """run_id and group."""
    recipe = Recipe.from_dict(flat)
    return recipe.run_id, recipe.group
