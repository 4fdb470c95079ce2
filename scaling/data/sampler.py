"""The order of training images: one endless sequence, a function of (seed, step) alone.

No state is kept, so a run that was interrupted at any step continues with the batch that would have come, and runs at
all patch sizes train on the same images in the same order.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from scaling.config.step_shapes import StepShape
from scaling.errors import ConfigError
from scaling.rng import SampleKey, stream


def permutation(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order of n images in an epoch."""
    return stream(seed, "order", epoch).permutation(n)


def subset(n: int, kept: int, option: str = "") -> np.ndarray:
    """Sorted indices of the `kept` of n images that a recipe uses, the same for every seed. kept 0: all. option: the
    one that sets it, for the error."""
    if kept > n:
        most = f"--{option} {n} or fewer" if option else f"use at most {n}"
        raise ConfigError(f"{kept} images requested, {n} available; {most}, or none for all")
    if kept in (0, n):
        return np.arange(n)
    return np.sort(stream(0, "subset").permutation(n)[:kept])


def steps_per_epoch(n: int, batch: int) -> int:
    """Full batches in n images; the remainder is left out of the epoch."""
    if n < batch:
        raise ConfigError(f"batch {batch} is larger than the {n} training images; --global-batch-size {n} or smaller")
    return n // batch


def folded(n: int, shares: int) -> list[np.ndarray]:
    """Positions 0 to n - 1 of a batch in equal shares, each closed under i -> n - 1 - i and ordered so that reversing
    it maps partners onto each other. timm's Mixup mixes a batch with its reverse: mixing each share with its own
    reverse is then the same, for any number of shares. Shares of odd length cannot be closed: they are plain slices."""
    size = n // shares
    if size % 2:
        return list(np.arange(n).reshape(shares, size))
    half = np.arange(n // 2).reshape(shares, size // 2)
    return [np.concatenate([first, n - 1 - first[::-1]]) for first in half]


class Request(NamedTuple):
    """The images of a micro-batch, and what its step is like."""

    keys: list[SampleKey]
    shape: StepShape | None = None  # None: the recipe's own
    progress: float = 0.0  # share of the run's steps before this one


class ResumableBatchSampler:
    """A batch sampler for torch's DataLoader: this rank's share of the steps start to stop - 1, in micro-batches.

    n: images. batch: images per step over all ranks; the ranks and their micro-batches divide it. repeats: consecutive
    copies of an image; an epoch has as many steps as without. shape_at: the shape of a step; None: the recipe's own.
    Iterating it twice gives the same.
    """

    def __init__(
        self,
        n: int,
        batch: int,
        seed: int,
        start: int,
        stop: int,
        *,
        rank: int = 0,
        world: int = 1,
        micro_batches: int = 1,
        repeats: int = 1,
        shape_at: Callable[[int], StepShape] | None = None,
    ) -> None:
        self.n, self.batch, self.seed, self.start, self.stop = n, batch, seed, start, stop
        self.micro_batches, self.repeats = micro_batches, repeats
        self.shape_at = shape_at
        self.shares = folded(batch, world * micro_batches)[rank * micro_batches : (rank + 1) * micro_batches]
        self.per_epoch = steps_per_epoch(n, batch)

    def __len__(self) -> int:
        """Micro-batches of the whole run, from step 0 on, as Lightning counts those of a resumed run."""
        return self.stop * self.micro_batches

    def __iter__(self) -> Iterator[Request]:
        order, of_epoch = np.empty(0, np.int64), -1
        for step in range(self.start, self.stop):
            epoch, within = divmod(step, self.per_epoch)
            if epoch != of_epoch:
                order, of_epoch = permutation(self.n, self.seed, epoch), epoch
            places = np.arange(within * self.batch, (within + 1) * self.batch)
            images, copies = order[places // self.repeats].tolist(), (places % self.repeats).tolist()
            shape = None if self.shape_at is None else self.shape_at(step)
            for share in self.shares:
                yield Request([SampleKey(epoch, images[i], copies[i]) for i in share.tolist()], shape, step / self.stop)
