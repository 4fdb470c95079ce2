"""Micro-batches that divide a recipe's batch evenly among devices. No torch: plans use it too."""

from collections.abc import Collection

from scaling.config.at_shape import shapes_of, step_batch_size
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
    """Micro-batches of a recipe on so many devices, of steps of the model's shape. Raises ConfigError where there are
    none, or the asked one (0: any) is not among them, for steps of any shape."""
    batches = {step_batch_size(config, shape) for shape in shapes_of(config)} | {config.optim.global_batch_size}
    if config.model.norm != "layer":
        _check_whole_batches(config.model.norm, batches, world, asked)
        return [config.optim.global_batch_size]
    mixes = bool(getattr(config.task, "mixup", 0) or getattr(config.task, "cutmix", 0))
    possible = {batch: sizes(batch, world, even=mixes) for batch in sorted(batches)}
    for batch, its in possible.items():
        if asked and asked not in its:
            listed = ", ".join(map(str, its))
            of_step = "global_batch_size" if batch == config.optim.global_batch_size else "a step's batch of"
            raise ConfigError(f"micro_batch_size {asked} does not divide {of_step} {batch} evenly; these do: {listed}")
    return possible[config.optim.global_batch_size]


def _check_whole_batches(norm: str, batches: Collection[int], world: int, asked: int) -> None:
    """Raise ConfigError unless each batch is one micro-batch on one device, as norms need that take its statistics."""
    rule = f"norm {norm} takes statistics of the whole batch"
    if world > 1:
        raise ConfigError(f"{rule}, and {world} devices would have one share of it each: --devices 1 or --norm layer")
    if asked and {asked} != set(batches):
        raise ConfigError(f"{rule}, and a micro-batch of {asked} is not that: leave out --micro-batch-size")
