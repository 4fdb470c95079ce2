"""Micro-batches that divide a recipe's batch evenly among devices. No torch: plans use it too."""

from scaling.config.experiment import ExperimentConfig
from scaling.errors import ConfigError


def sizes(batch: int, world: int, even: bool) -> list[int]:
    """Micro-batches that divide each device's share of a batch, ascending [images]. world: devices; even: mixing needs
    pairs.

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


def check_sizes(config: ExperimentConfig, world: int, asked: int = 0) -> list[int]:
    """Micro-batches of a recipe on so many devices. Raises ConfigError where there are none, or the asked one (0: any)
    is not among them."""
    if config.model.norm != "layer":
        return _whole_batch(config, world, asked)
    mixes = bool(getattr(config.task, "mixup", 0) or getattr(config.task, "cutmix", 0))
    possible = sizes(config.optim.global_batch_size, world, even=mixes)
    if asked and asked not in possible:
        listed = ", ".join(map(str, possible))
        raise ConfigError(
            f"micro_batch_size {asked} does not divide global_batch_size {config.optim.global_batch_size} evenly; "
            f"these do: {listed}"
        )
    return possible


def _whole_batch(config: ExperimentConfig, world: int, asked: int) -> list[int]:
    """The only micro-batch of a model whose norms take statistics of the batch: all of it, on one device."""
    batch, rule = config.optim.global_batch_size, f"norm {config.model.norm} takes statistics of the whole batch"
    if world > 1:
        raise ConfigError(f"{rule}, and {world} devices would have one share of it each: --devices 1 or --norm layer")
    if asked not in (0, batch):
        raise ConfigError(f"{rule}, and a micro-batch of {asked} is a part of it: leave out --micro-batch-size")
    return [batch]
