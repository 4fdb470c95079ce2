"""The most tokens that an image may have in detection, known before a run begins. No torch: --dry-run asks too."""

import math
import os

from scaling.costs.token_counts import COARSEST
from scaling.errors import ConfigError
from scaling.recipe import Recipe

MOST_TOKENS = 2**18  # of an image, unless the environment says otherwise
LIMIT = "SCALING_MOST_TOKENS"


def multiple(recipe: Recipe) -> int:
    """Of which the sides of images have to be [px]: of the patch, and of the head's coarsest map."""
    return math.lcm(COARSEST, recipe.patch, recipe.extend or 1)


def tokens(recipe: Recipe, size: tuple[int, int]) -> int:
    """Patches of an image of that height and width [px], filled up as it will be [tokens]."""
    height, width = (-(-side // multiple(recipe)) * multiple(recipe) for side in size)
    return height * width // recipe.patch**2


def check_tokens(recipe: Recipe, size: tuple[int, int] | None = None) -> None:
    """Raise ConfigError where an image of that height and width [px], or the largest that a recipe of detection speaks
    of, has more tokens than the limit: before it is made, not when memory runs out."""
    if recipe.task != "detect":
        return
    if size is None:
        short = recipe.short_side or recipe.image
        size = max(((recipe.image,) * 2, (short, recipe.long_side or short)), key=lambda s: tokens(recipe, s))
    most, found = _most(), tokens(recipe, size)
    if found > most:
        raise ConfigError(
            f"patch {recipe.patch} makes {found:,} tokens of an image of {size[0]} x {size[1]} px, more than {most:,}: "
            f"take a larger patch or smaller images, or set {LIMIT}"
        )


def _most() -> int:
    text = os.environ.get(LIMIT, str(MOST_TOKENS))
    if not text.strip().isdecimal() or not int(text):
        raise ConfigError(
            f"{LIMIT} is {text!r}; it is the most tokens of an image, a whole number such as {MOST_TOKENS}"
        )
    return int(text)
