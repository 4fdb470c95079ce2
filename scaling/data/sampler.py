"""The order of training images: one endless sequence, a function of (seed, step) alone.

Where steps differ in their number of images, a step has the next ones of the same sequence. No state is kept, so a run
that was interrupted at any step continues with the batch that would have come, and runs at all patch sizes train on the
same images in the same order.
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


class StepSize(NamedTuple):
    """How many images a step has, over all ranks, and in how many micro-batches each rank takes its share."""

    images: int
    micro_batches: int


class ResumableBatchSampler:
    """A batch sampler for torch's DataLoader: this rank's share of the steps start to stop - 1, in micro-batches.

    n: images. batch: images per step over all ranks; the ranks and their micro-batches divide it. repeats: consecutive
    copies of an image; an epoch has as many steps as without. shape_at: the shape of a step; None: the recipe's own.
    size_of: of a step of a shape; None: all have batch and micro_batches. An epoch has the images of full batches, and
    with size_of a step may begin in one and end in the next. Iterating it twice gives the same.
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
        size_of: Callable[[StepShape], StepSize] | None = None,
    ) -> None:
        self.n, self.batch, self.seed, self.start, self.stop = n, batch, seed, start, stop
        self.rank, self.world, self.micro_batches, self.repeats = rank, world, micro_batches, repeats
        self.shape_at, self.size_of = shape_at, size_of
        self.per_epoch = steps_per_epoch(n, batch) * batch  # images
        self._order, self._of_epoch = np.empty(0, np.int64), -1

    def __len__(self) -> int:
        """Micro-batches of the whole run, from step 0 on, as Lightning counts those of a resumed run; where steps
        differ in their number of micro-batches it counts micro_batches for each (engine/micro_batch.py)."""
        return self.stop * self.micro_batches

    def __iter__(self) -> Iterator[Request]:
        begin = self._images_before(self.start)
        for step in range(self.start, self.stop):
            shape = None if self.shape_at is None else self.shape_at(step)
            images, micro_batches = self._size(shape)
            keys = self._keys(begin, begin + images)
            begin += images
            shares = folded(images, self.world * micro_batches)
            for share in shares[self.rank * micro_batches : (self.rank + 1) * micro_batches]:
                yield Request([keys[i] for i in share.tolist()], shape, step / self.stop)

    def _size(self, shape: StepShape | None) -> StepSize:
        if self.size_of is None or shape is None:
            return StepSize(self.batch, self.micro_batches)
        return self.size_of(shape)

    def _images_before(self, step: int) -> int:
        """Images of the steps before this one."""
        if self.size_of is None or self.shape_at is None:
            return step * self.batch
        return sum(self._size(self.shape_at(earlier)).images for earlier in range(step))

    def _keys(self, begin: int, end: int) -> list[SampleKey]:
        """Of the images from one place to another of the sequence of all epochs."""
        found: list[SampleKey] = []
        while begin < end:
            epoch, within = divmod(begin, self.per_epoch)
            if epoch != self._of_epoch:
                self._order, self._of_epoch = permutation(self.n, self.seed, epoch), epoch
            places = np.arange(within, min(within + end - begin, self.per_epoch))
            images, copies = self._order[places // self.repeats].tolist(), (places % self.repeats).tolist()
            found += [SampleKey(epoch, image, copy) for image, copy in zip(images, copies, strict=True)]
            begin += len(places)
        return found
