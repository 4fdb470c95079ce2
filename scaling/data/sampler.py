"""The order of training images: one endless stream, a function of (seed, step) alone.

Because nothing is remembered, a run that is cut off at any step goes on with the very batch that would have come, and
runs at all patch sizes see the same images in the same order.
"""

from collections.abc import Iterator

import numpy as np

from scaling.data.batch import SampleKey
from scaling.errors import ConfigError


def permutation(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order of n images in an epoch."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(n)


def subset(n: int, kept: int, option: str = "") -> np.ndarray:
    """Which `kept` of n images a recipe uses, sorted; the same for every seed. kept 0: all. option: that sets it, for
    the error."""
    if kept > n:
        most = f"--{option} {n} or fewer" if option else f"ask for at most {n}"
        raise ConfigError(f"{kept} images asked for, {n} there; {most}, or 0 for all")
    if kept in (0, n):
        return np.arange(n)
    return np.sort(permutation(n, seed=0, epoch=2**32)[:kept])


def steps_per_epoch(n: int, batch: int) -> int:
    """Full batches in n images; what is left over waits for another epoch's order."""
    if n < batch:
        raise ConfigError(f"batch {batch} is larger than the {n} training images; --batch {n} or smaller")
    return n // batch


def folded(n: int, shares: int) -> list[np.ndarray]:
    """Positions 0 .. n - 1 of a batch in equal shares, each closed under i -> n - 1 - i and in an order whose reverse
    is its partners': mixing a share with its own reverse, as timm's Mixup does, is mixing the batch with its reverse,
    into however many shares it is cut. Shares of an odd length cannot be closed: those are plain slices."""
    size = n // shares
    if size % 2:
        return list(np.arange(n).reshape(shares, size))
    half = np.arange(n // 2).reshape(shares, size // 2)
    return [np.concatenate([first, n - 1 - first[::-1]]) for first in half]


class ResumableBatchSampler:
    """A batch sampler for torch's DataLoader: this rank's share of the steps start .. stop - 1, in micro-batches.

    n: images; batch: over all ranks, among which and among whose micro-batches it divides. repeats: copies of an image
    that follow each other; an epoch has as many steps as without. Iterating it twice gives the same.
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
    ) -> None:
        self.n, self.batch, self.seed, self.start, self.stop = n, batch, seed, start, stop
        self.micro_batches, self.repeats = micro_batches, repeats
        self.shares = folded(batch, world * micro_batches)[rank * micro_batches : (rank + 1) * micro_batches]
        self.per_epoch = steps_per_epoch(n, batch)

    def __len__(self) -> int:
        """Micro-batches of the whole run, start not taken off: Lightning counts a resumed run's from its beginning."""
        return self.stop * self.micro_batches

    def __iter__(self) -> Iterator[list[SampleKey]]:
        order, of_epoch = np.empty(0, np.int64), -1
        for step in range(self.start, self.stop):
            epoch, within = divmod(step, self.per_epoch)
            if epoch != of_epoch:
                order, of_epoch = permutation(self.n, self.seed, epoch), epoch
            places = np.arange(within * self.batch, (within + 1) * self.batch)
            images, copies = order[places // self.repeats].tolist(), (places % self.repeats).tolist()
            for share in self.shares:
                yield [SampleKey(epoch, images[i], copies[i]) for i in share.tolist()]
