"""Batch cuts: the micro-batches that a recipe's batch can be cut into, so that devices take it in equal turns.

No torch: a plan asks before there is any."""

from scaling.errors import ConfigError
from scaling.recipe import Recipe


def sizes(batch: int, world: int, even: bool) -> list[int]:
    """The micro-batches that a batch can be cut into on so many devices, ascending. even: mixing needs pairs.

    Raises ConfigError where the devices cannot share the batch."""
    if batch % world:
        near = [n for n in (batch - batch % world, batch - batch % world + world) if n]
        raise ConfigError(
            f"batch {batch} cannot be divided among {world} devices; nearest that can: {', '.join(map(str, near))}"
        )
    share = batch // world
    found = [n for n in range(1, share + 1) if share % n == 0 and not (even and n % 2)]
    if not found:
        raise ConfigError(
            f"mixup and cutmix mix pairs, and batch {batch} leaves {share} image(s) to each of {world} device(s); "
            "take a batch with an even share"
        )
    return found


def check_sizes(recipe: Recipe, world: int, asked: int = 0) -> list[int]:
    """The micro-batches of a recipe on so many devices, among them the one asked for, if one is. Raises ConfigError."""
    possible = sizes(recipe.batch, world, even=bool(recipe.mixup or recipe.cutmix))
    if asked and asked not in possible:
        raise ConfigError(
            f"micro_batch {asked} does not cut batch {recipe.batch} evenly; these do: {', '.join(map(str, possible))}"
        )
    return possible
