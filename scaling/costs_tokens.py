"""Tokens of an image, by arithmetic. Letters and convention as in costs.py."""

import math

from scaling.recipe import Recipe, check_patch

COARSEST = 32  # stride of detection's coarsest map, whose multiples the sides of its images are [px]


def tokens(image: int, patch: int) -> int:
    """Patches of an image [tokens], class token not counted. image, patch: sides [px]; patch divides image."""
    check_patch(image, patch)
    return (image // patch) ** 2


def recipe_sides(recipe: Recipe) -> tuple[int, int]:
    """Height and width that a training image of a recipe has in the model [px].

    In detection photographs are taken for 4:3, as most of COCO's are; crops and the embedded set's images are square;
    all are filled up as scaling/tasks/detect.py does, to multiples of the patch and of the coarsest map."""
    if recipe.task != "detect":
        return recipe.image, recipe.image
    whole = recipe.short_side and recipe.augment != "jitter_crop"
    short = recipe.short_side if whole else recipe.image
    long = min(4 * short // 3, recipe.long_side or 4 * short // 3) if whole else short
    step = math.lcm(COARSEST, recipe.patch, recipe.extend or 1)
    return -(-short // step) * step, -(-long // step) * step


def recipe_tokens(recipe: Recipe) -> int:
    """Patches of a training image of a recipe [tokens], class token not counted."""
    height, width = recipe_sides(recipe)
    return (height // recipe.patch) * (width // recipe.patch)


def embedded_tokens(recipe: Recipe) -> int:
    """Patches that pixels are embedded in [tokens]: fewer than the tokens where a recipe extends the sequence."""
    height, width = recipe_sides(recipe)
    side = recipe.extend or recipe.patch
    return (height // side) * (width // side)
