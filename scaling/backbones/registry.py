"""Families of backbones by name, and how a recipe's backbone is built.

FAMILIES is open: FAMILIES["mine"] = build, with MODEL_SPECS["mine_tiny"] = ModelSpec("mine", ...) in
scaling/model_specs.py, makes the backbone mine_tiny known to recipes.
"""

from collections.abc import Callable
from typing import Any

from scaling.backbones.base import Backbone
from scaling.backbones.checkpoint_io import load_weights
from scaling.backbones.patch_embed import PatchEmbed, build_patch_embed
from scaling.backbones.sincos import Reference
from scaling.model_specs import MODEL_SPECS, ModelSpec
from scaling.preprocessing import initial_run, preprocessing_of
from scaling.recipe import TIMM, Recipe
from scaling.rng import seed_of, seeded


def _deit(size: ModelSpec, recipe: Recipe) -> Backbone:
    from scaling.backbones.deit import Deit

    return Deit(size, recipe.image, recipe.patch, **common_options(size, recipe))


def _adventurer(size: ModelSpec, recipe: Recipe) -> Backbone:
    from scaling.backbones.adventurer_backbone import AdventurerBackbone

    return AdventurerBackbone(size, recipe.image, recipe.patch, flip=recipe.flip, **common_options(size, recipe))


def _timm(size: ModelSpec, recipe: Recipe) -> Backbone:
    from scaling.backbones.timm_vit import TimmViT

    return TimmViT(recipe.backbone.removeprefix(TIMM), recipe.image, recipe.patch)


FOREIGN = ModelSpec("timm", 0, 0, 0, 1)  # of every backbone that timm provides
FAMILIES: dict[str, Callable[[ModelSpec, Recipe], Backbone]] = {
    "deit": _deit,
    "deit3": _deit,
    "adventurer": _adventurer,
    "timm": _timm,
}


def build_backbone(recipe: Recipe) -> Backbone:
    """The recipe's backbone, initialised from its seed, or with recipe.weights where it names any.

    Blocks start equal at every patch size: each module's weights come from its own stream of random numbers (seed and
    module name), so that a larger patch embedding does not shift what the blocks draw. Raises ConfigError.
    """
    size = MODEL_SPECS.get(recipe.backbone, FOREIGN)
    with seeded(seed_of(recipe.seed, "construction")):
        backbone = FAMILIES[size.family](size, recipe)
    backbone.mean, backbone.std, _ = preprocessing_of(recipe)
    backbone.initialise(recipe.seed)
    if recipe.weights:
        load_weights(backbone, recipe.weights, recipe.compat)
    return backbone


def common_options(size: ModelSpec, recipe: Recipe) -> dict[str, Any]:
    """Arguments that the families of this project share: drop_path, position, reference, patch_embed."""
    return {
        "drop_path": recipe.drop_path,
        "position": recipe.position,
        "reference": Reference(*_first_grid(recipe)),
        "patch_embed": _patch_embed(size, recipe),
    }


def _patch_embed(size: ModelSpec, recipe: Recipe) -> PatchEmbed:
    if recipe.extend:
        options = {"embed_patch_size": recipe.extend}
        return build_patch_embed("extended", 3, size.width, recipe.image, recipe.patch, **options)
    return build_patch_embed("conv", 3, size.width, recipe.image, recipe.patch)


def _first_grid(recipe: Recipe) -> tuple[int, int]:
    """Grid [tokens] and patch [px] in which the sincos coordinates of multi-stage training are measured: those of its
    first run with sincos."""
    before = initial_run(recipe)
    if before is not None and before.position == "sincos":
        return _first_grid(before)
    return recipe.image // recipe.patch, recipe.patch
