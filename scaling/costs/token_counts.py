"""Image sides, tokens and sampled regions that follow from a recipe. Letters as in scaling/costs/__init__.py."""

import math

from scaling.costs.base import EmbedInput, TokenCount
from scaling.model_specs import FPN_COARSEST, MAX_ROIS
from scaling.recipe import Recipe, check_patch

PHOTOGRAPH = (3, 4)  # height to width that costs assume for images that keep their shape, as most of COCO's have it


def tokens(image: int, patch: int) -> int:
    """Image tokens of a square image. image, patch: sides [px]. Raises ConfigError unless patch divides image."""
    check_patch(image, patch)
    return (image // patch) ** 2


def size_multiple(recipe: Recipe) -> int:
    """What the sides of a model's input are multiples of [px]: of the patch, of the patch that is embedded, and in
    detection of the coarsest map of the pyramid, so that a cell is exactly a stride, as anchors suppose."""
    return math.lcm(recipe.patch, recipe.extend or 1, FPN_COARSEST if recipe.task == "detect" else 1)


def padded_size(recipe: Recipe, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width [px], each rounded up to size_multiple."""
    step = size_multiple(recipe)
    return -(-size[0] // step) * step, -(-size[1] // step) * step


def recipe_sides(recipe: Recipe) -> tuple[int, int]:
    """Height and width of a training image in the model [px]: a square of recipe.image, but in detection on whole
    images, which keep their shape. The embedded data set is square; photographs are assumed to have the shape
    PHOTOGRAPH. Padding to the other images of a batch is not counted."""
    return padded_size(recipe, unpadded_sides(recipe)) if recipe.task == "detect" else (recipe.image, recipe.image)


def assumes_photographs(recipe: Recipe) -> bool:
    """Whether costs assume the shape PHOTOGRAPH, as the images themselves are not looked at."""
    return recipe.task == "detect" and recipe.augment != "jitter_crop" and recipe.data != "shapes"


def unpadded_sides(recipe: Recipe) -> tuple[int, int]:
    """Height and width of a training image in detection as scaling/data/detection_transforms.py crops or scales it,
    before padding [px]."""
    if recipe.augment == "jitter_crop":
        return recipe.image, recipe.image
    short, long = PHOTOGRAPH if assumes_photographs(recipe) else (1, 1)
    factor = min((recipe.short_side or recipe.image) / short, (recipe.long_side or math.inf) / long)
    return max(1, int(short * factor + 0.5)), max(1, int(long * factor + 0.5))


def recipe_tokens(recipe: Recipe) -> int:
    """Image tokens of a training image [tokens]."""
    height, width = recipe_sides(recipe)
    return (height // recipe.patch) * (width // recipe.patch)


def token_count(recipe: Recipe, extra: int) -> TokenCount:
    """Of a training image. extra: tokens of the backbone that are not of the image, as CostModel.extra_tokens."""
    positions = tokens(recipe.image, recipe.patch) if recipe.position == "learned" else 0
    return TokenCount(recipe_tokens(recipe), extra, positions)


def embed_input(recipe: Recipe, width: int) -> EmbedInput:
    """Of a training image. width: of the backbone."""
    (height, across), kernel = recipe_sides(recipe), recipe.extend or recipe.patch
    return EmbedInput(width, kernel, (height // kernel) * (across // kernel))


def sampled_rois(recipe: Recipe) -> int:
    """Regions that detection samples from an image in training [1]: as many as its shorter side has px, at most
    MAX_ROIS, as small images hold fewer that differ."""
    return min(MAX_ROIS, recipe.image if recipe.augment == "jitter_crop" else recipe.short_side or recipe.image)
