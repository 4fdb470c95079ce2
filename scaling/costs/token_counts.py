"""Tokens of an image, by arithmetic. Letters and convention as in costs.py."""

import math

from scaling.recipe import Recipe, check_patch

COARSEST = 32  # stride of detection's coarsest map, whose multiples the sides of its images are [px]
SHAPE = (3, 4)  # height to width of photographs, as most of COCO's are


def tokens(image: int, patch: int) -> int:
    """Patches of an image [tokens], class token not counted. image, patch: sides [px]; patch divides image."""
    check_patch(image, patch)
    return (image // patch) ** 2


def recipe_sides(recipe: Recipe) -> tuple[int, int]:
    """Height and width that a training image of a recipe has in the model [px]: a square of image px, but in detection
    on whole images, which keep their shape: the embedded set's are square, and photographs are taken for SHAPE. All
    are filled up as scaling/tasks/detection.py does, to multiples of the patch and of the coarsest map; that images of
    a batch are filled up to one another's sides is not counted."""
    if recipe.task != "detect":
        return recipe.image, recipe.image
    step = math.lcm(COARSEST, recipe.patch, recipe.extend or 1)
    height, width = (-(-side // step) * step for side in seen_sides(recipe))
    return height, width


def is_of_photographs(recipe: Recipe) -> bool:
    """Whether costs take the images for SHAPE, whatever the data have."""
    return recipe.task == "detect" and recipe.augment != "jitter_crop" and recipe.data != "shapes"


def seen_sides(recipe: Recipe) -> tuple[int, int]:
    """Height and width of detection's image as scaling/data/detection_transforms.py cuts or scales it [px], not filled
    up."""
    if recipe.augment == "jitter_crop":
        return recipe.image, recipe.image
    short, long = SHAPE if is_of_photographs(recipe) else (1, 1)
    factor = min((recipe.short_side or recipe.image) / short, (recipe.long_side or math.inf) / long)
    return max(1, int(short * factor + 0.5)), max(1, int(long * factor + 0.5))


def recipe_tokens(recipe: Recipe) -> int:
    """Patches of a training image of a recipe [tokens], class token not counted."""
    height, width = recipe_sides(recipe)
    return (height // recipe.patch) * (width // recipe.patch)


def embedded_tokens(recipe: Recipe) -> int:
    """Patches that pixels are embedded in [tokens]: fewer than the tokens where a recipe extends the sequence."""
    height, width = recipe_sides(recipe)
    side = recipe.extend or recipe.patch
    return (height // side) * (width // side)
