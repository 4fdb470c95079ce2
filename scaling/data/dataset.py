"""What a task's images have to offer, so that one module can serve them all."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple, Protocol

from scaling.data.batch import SampleKey

TEST = ""  # instead of an augment: a test set's images, as they are


class ImageSet(Protocol):
    """Images by number. A batch is a NamedTuple with at least image_BCHW (uint8), skipped and random_BS, as in
    batch.py."""

    in_memory: bool  # decoded already and soon served: no processes are needed to read it
    skipped: int  # images left out because they cannot be read
    sizes: Sequence[Any]  # what tells images apart that cannot be in one batch; empty: all can

    def __len__(self) -> int: ...

    def __getitems__(self, draws: list[SampleKey]) -> Any: ...


class Sets(NamedTuple):
    """The images of a recipe."""

    train: ImageSet
    test: ImageSet
    names: tuple[str, ...] = ()  # of the classes, where the data has any
    digest: str = ""  # fingerprint of the files, where there are any (file_index.py)
    lines: tuple[str, ...] = ()  # what there is to say of them
    held_out: ImageSet | None = None  # training images that are not trained on (held_out.py); None: val_split is 0


def batches(n: int, largest: int, sizes: Sequence[Any]) -> list[list[int]]:
    """Test images 0 .. n - 1 in batches, in order; only neighbours of one size (of ImageSet) are in a batch."""
    runs = [list(run) for _, run in groupby(range(n), lambda i: sizes[i])] if len(sizes) else [list(range(n))]
    return [run[i : i + largest] for run in runs for i in range(0, len(run), largest)]


def deal(n: int, largest: int, sizes: Sequence[Any], world: int) -> list[list[list[int]]]:
    """The batches of all test images for each of `world` devices, dealt in turn. All have as many: where there is none
    left for a device its last batch is empty, so that no device waits for one that is done."""
    all_of_them = batches(n, largest, sizes)
    all_of_them += [[] for _ in range(-len(all_of_them) % world)]
    return [all_of_them[rank::world] for rank in range(world)]
