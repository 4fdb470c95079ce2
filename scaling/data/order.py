"""The order of training images: one endless stream, a function of (seed, step) alone.

Because nothing is remembered, a run that is cut off at any step goes on with the very batch that would have come, and
runs at all patch sizes see the same images in the same order.
"""

from collections.abc import Iterator

import numpy as np

from scaling.data.batch import Draw
from scaling.recipe import BadInput


def permutation(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order of n images in an epoch."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(n)


def subset(n: int, kept: int) -> np.ndarray:
    """Which `kept` of n images a recipe uses, sorted; the same for every seed. kept 0: all."""
    if kept > n:
        raise BadInput(f"{kept} images asked for, {n} there; ask for at most {n}, or 0 for all")
    if kept in (0, n):
        return np.arange(n)
    return np.sort(permutation(n, seed=0, epoch=2**32)[:kept])


def steps_per_epoch(n: int, batch: int) -> int:
    """Full batches in n images; what is left over waits for another epoch's order."""
    if n < batch:
        raise BadInput(f"batch {batch} is larger than the {n} training images; take a batch of at most {n}")
    return n // batch


class Stream:
    """A batch sampler for torch's DataLoader: the draws of steps start .. stop - 1, this rank's share of each.

    n: images; batch: over all ranks, which it divides among. Iterating it twice gives the same.
    """

    def __init__(self, n: int, batch: int, seed: int, start: int, stop: int, *, rank: int = 0, world: int = 1) -> None:
        self.n, self.batch, self.seed, self.start, self.stop = n, batch, seed, start, stop
        self.rank, self.world = rank, world
        self.per_epoch = steps_per_epoch(n, batch)

    def __len__(self) -> int:
        """Steps of the whole run, start not taken off: Lightning counts a resumed run's batches from its beginning."""
        return self.stop

    def __iter__(self) -> Iterator[list[Draw]]:
        order, of_epoch = np.empty(0, np.int64), -1
        for step in range(self.start, self.stop):
            epoch, within = divmod(step, self.per_epoch)
            if epoch != of_epoch:
                order, of_epoch = permutation(self.n, self.seed, epoch), epoch
            share = order[within * self.batch : (within + 1) * self.batch][self.rank :: self.world]
            yield [Draw(epoch, int(i)) for i in share]
