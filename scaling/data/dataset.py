"""The interface of data sets, and what they have in common: reading a batch, shapes of steps, evaluation batches."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Generic, Protocol, TypeVar

from scaling.config.experiment import ExperimentConfig
from scaling.config.step_shapes import StepShape
from scaling.data.batch import Batch, Split
from scaling.errors import ConfigError
from scaling.rng import SampleKey

MEMORY_LIMIT = 2 * 2**30  # decoded images up to this are kept in memory [bytes]
TRIES = 16  # consecutive images of which a training batch uses the first that can be read
T = TypeVar("T")


class ImageDataset(Protocol):
    """Images by index."""

    in_memory: bool  # decoded already and fast to serve: no worker processes are needed
    skipped: int  # images left out because they cannot be read
    sizes: Sequence[Hashable]  # images of unequal entries cannot be in one batch; empty: all can

    def __len__(self) -> int: ...

    def get_batch(self, keys: list[SampleKey], shape: StepShape | None = None, progress: float = 0.0) -> Batch:
        """These images. shape: of the training step; None: the recipe's own. progress: share of the run's steps before
        this one."""


def fits_in_memory(size: int) -> bool:
    """Whether decoded images of so many bytes are kept in memory."""
    return size <= MEMORY_LIMIT


@dataclass
class Readable(Generic[T]):
    """The requested images that could be read."""

    items: list[T]
    keys: list[SampleKey]  # of the items
    skipped: int  # images that could not be read


def read_keys(
    read: Callable[[int, SampleKey], T], keys: list[SampleKey], n: int, config: ExperimentConfig, split: Split
) -> Readable[T]:
    """read(index, key) for the keys, of n images. In training, where batches have a fixed size, the next image that can
    be read takes the place of one that cannot. Raises ConfigError where none can be read, or any may not be missing."""
    found: Readable[T] = Readable([], [], 0)
    tries = 1 if split is Split.VAL else TRIES
    for key in keys:
        for number in range(tries):
            try:
                found.items.append(read((key.image + number) % n, key))
                found.keys.append(key)
                break
            except OSError as e:  # its header and end were valid, yet it cannot be decoded
                if config.data.on_bad_image == "stop":
                    raise ConfigError(f"unreadable image {e}; replace it, or use --on-bad-image skip") from e
                found.skipped += number == 0
        else:
            if tries > 1:
                raise ConfigError(f"none of {tries} images in a row can be read: check the disk")
    if not found.items and len(keys) > 1:  # the last batch of a test set may be a single image
        raise ConfigError(f"none of {len(keys)} images in a row can be read: check the disk")
    return found


def batches(n: int, largest: int, sizes: Sequence[Hashable]) -> list[list[int]]:
    """Test images 0 to n - 1 in batches, in order; only neighbours of equal `sizes` (of ImageDataset) share a batch."""
    runs = [list(run) for _, run in groupby(range(n), lambda i: sizes[i])] if len(sizes) else [list(range(n))]
    return [run[i : i + largest] for run in runs for i in range(0, len(run), largest)]


def deal(n: int, largest: int, sizes: Sequence[Hashable], world: int) -> list[list[list[int]]]:
    """The batches of all test images for each of `world` devices, dealt in turn. All devices have equally many: where
    none is left for a device its last batch is empty, so that no device waits for one that has finished."""
    all_of_them = batches(n, largest, sizes)
    all_of_them += [[] for _ in range(-len(all_of_them) % world)]
    return [all_of_them[rank::world] for rank in range(world)]
