"""The one source of random numbers: no other module of scaling/ creates a generator or a seed (tests/test_rng.py).

Every number is a function of the run's seed, a purpose and a key (an image, a step, a module name), and never of how
many numbers were drawn before it. So a batch is the same for any number of workers, devices and micro-batches, and a
resumed run needs no generator state. Three forms:

    uniform(keys, seed, purpose, count)   (n, count) numbers in [0, 1), one row per image (counter-based: SplitMix64)
    stream(seed, purpose, *key)           a numpy generator (Philox)
    seed_of(seed, purpose, *key)          a seed, for library code that draws from the global generators: inside
                                          `seeded`, `seeded_numpy` or `seeded_all` they start from it, afterwards they
                                          are as before

COLUMNS, PHILOX_KEYS and SEEDS list the purposes of the first release. Their definitions must not change: the results of
every finished run depend on them. Any other purpose gets numbers of its own from a hash of its name; these cannot
coincide with those of a listed purpose. SplitMix64: Steele, Lea, Flood 2014. torch is imported where it is used.
"""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Word = NDArray[np.uint64]
Part = int | str | bytes  # of a key
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # the increment of SplitMix64
COLUMN = np.uint64(0xD1B54A32D192ED03)  # odd: distinct columns have distinct offsets
STEPS, RANKS = 1_000_003, 4099  # step seeds below these are laid out without a hash, as in the first release


class SampleKey(NamedTuple):
    """One image of the training stream: the epoch, the index of the image in its data set, and which of its copies
    (repeated augmentation). Augmentation and stochastic depth are functions of it and of the run's seed."""

    epoch: int
    image: int
    copy: int = 0


# Columns of `uniform` by purpose, as (first, number) stretches. A run has either "flip" and "shift", which act on a
# batch of decoded images, or "view": these may share column 1. Of two hundred branches and more (above 50 blocks)
# "drop_path" continues at 1001, so that it does not run into the next purpose.
COLUMNS: dict[str, tuple[tuple[int, int], ...]] = {
    "flip": ((1, 1),),
    "shift": ((2, 2),),
    "view": ((1, 1),),
    "erase": ((101, 1),),
    "erase_noise": ((102, 1),),
    "drop_path": ((201, 100), (1001, 2**32 - 1001)),
    "segmentation_view": ((301, 1),),
    "detection_crop": ((401, 3),),
}


def uniform(keys: Sequence[SampleKey], seed: int, purpose: str, count: int = 1) -> NDArray[np.float64]:
    """(len(keys), count) numbers in [0, 1). Raises ValueError where the purpose has fewer columns."""
    state = np.array([(k.epoch << 40) ^ (k.copy << 36) ^ k.image for k in keys], np.uint64)[:, None]
    with np.errstate(over="ignore"):
        state = _mixed(state + np.uint64(seed) * GOLDEN)
        state = _mixed(state + _columns(purpose, count) * COLUMN)
    return (state >> np.uint64(11)).astype(np.float64) / 2**53


def _columns(purpose: str, count: int) -> Word:
    """The numbers of the first `count` columns of a purpose. An unlisted one has 2**32 of them, above all listed."""
    own = ((int.from_bytes(_hashed(purpose)[:4], "little") | 2**31) << 32, 2**32)
    numbers: list[Word] = []
    for first, most in COLUMNS.get(purpose, (own,)):
        numbers.append(np.arange(first, first + min(count, most), dtype=np.uint64))
        count -= len(numbers[-1])
    if count:
        raise ValueError(f"{purpose} has {count} columns fewer than are drawn")
    return np.concatenate(numbers)


def splitmix64(z: Word) -> Word:
    """One step of SplitMix64: a bijection of 64-bit numbers. The generated data set is made by it."""
    with np.errstate(over="ignore"):
        return _mixed(z + GOLDEN)


def _mixed(z: Word) -> Word:
    """The output function of SplitMix64. The caller ignores overflow."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


PHILOX_KEYS: dict[str, Callable[..., list[int]]] = {
    "order": lambda seed, epoch: [seed, epoch],  # of training images in an epoch, below 2**32
    "subset": lambda seed: [0, 2**32],  # which images are used: the same for every seed
}


def stream(seed: int, purpose: str, *key: Part) -> np.random.Generator:
    """A numpy generator of its own for every seed, purpose and key."""
    if purpose in PHILOX_KEYS:
        return np.random.Generator(np.random.Philox(key=PHILOX_KEYS[purpose](seed, *key)))
    low, high = np.frombuffer(_hashed(purpose, seed, *key), np.uint64).tolist()
    return np.random.Generator(np.random.Philox(key=[low | 2**63, high]))


def _of_step(seed: int, step: int, rank: int) -> int:
    """A seed in [0, 2**64). (The CPU's generator takes its low 32 bits.)"""
    key = (seed * STEPS + step) * RANKS + rank
    if step < STEPS and rank < RANKS and key < 2**63:
        return key
    digest = hashlib.sha256(f"{seed} {step} {rank}".encode()).digest()
    return 2**63 + int.from_bytes(digest[:8], "little") % 2**63


def _of_mixup(seed: int, step: int) -> int | list[int]:
    """A seed of numpy's global generator: a number below 2**32, or three."""
    key = seed * STEPS + step
    return key if step < STEPS and key < 2**32 else [seed, step % 2**32, step >> 32]


def _of_image(purpose: str) -> Callable[[int, SampleKey], int]:
    return lambda seed, key: int(uniform([key], seed, purpose)[0, 0] * 2**53)


SEEDS: dict[str, Callable[..., int | list[int]]] = {
    "step": _of_step,  # step, rank: whatever draws from torch's generators in a training step
    "mixup": _of_mixup,  # step: Mixup and CutMix
    "view": _of_image("view"),  # image: torchvision's and timm's augmentation
    "erase_noise": _of_image("erase_noise"),  # image: random erasing
    "segmentation_view": _of_image("segmentation_view"),  # image: scale, crop, colours
    "construction": lambda seed: seed,  # a model while it is built: drawn again by "module", but for a linear head
    "module": lambda seed, name: zlib.crc32(f"{seed}/{name}".encode()),  # initial weights of a module
    "regions": lambda seed, step, boxes: zlib.crc32(boxes, zlib.crc32(f"{seed}/{step}".encode())),  # RoIs of an image
    "evaluation_regions": lambda seed, image_id: zlib.crc32(f"{image_id}".encode()),  # the same for every seed
    "loader": lambda seed: seed,  # of worker processes, whose own generators nothing draws from
}


# The signatures overlap: "mixup", the only purpose whose seed may be a list, is a str like the others.
@overload
def seed_of(seed: int, purpose: Literal["mixup"], step: int, /) -> int | list[int]: ...  # type: ignore[overload-overlap]
@overload
def seed_of(seed: int, purpose: str, *key: Part | SampleKey) -> int: ...
def seed_of(seed: int, purpose: str, *key: Part | SampleKey) -> int | list[int]:
    """A seed for torch's generators, in [0, 2**64); of "mixup" for numpy's. key: as in SEEDS; of an unlisted purpose
    any int, str or bytes."""
    if purpose in SEEDS:
        return SEEDS[purpose](seed, *key)
    return int.from_bytes(_hashed(purpose, seed, *key)[:8], "little")


def _hashed(*parts: Part | SampleKey) -> bytes:
    """16 bytes, of BLAKE2b. The type and the length of each part are hashed with it."""
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        text = part if isinstance(part, bytes) else str(part).encode()
        hashed.update(f"{type(part).__name__} {len(text)} ".encode() + text)
    return hashed.digest()


@contextmanager
def seeded(value: int) -> Iterator[None]:
    """torch's generator of the CPU starts from a seed inside, and is as before afterwards."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(value)
        yield


@contextmanager
def seeded_numpy(value: int | list[int]) -> Iterator[None]:
    """numpy's global generator starts from a seed inside, and is as before afterwards: timm's augmentation uses it."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(value)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


@contextmanager
def seeded_all(value: int) -> Iterator[None]:
    """The global generators of torch (CPU), numpy and Python start from a seed inside, and are as before afterwards."""
    before = random.getstate()
    with seeded(value), seeded_numpy(value % 2**32):
        random.seed(value)
        try:
            yield
        finally:
            random.setstate(before)


def seed_devices(value: int, device: torch.device) -> None:
    """Seed torch's generators of the CPU and of this device. torch.manual_seed would queue a call and a formatted stack
    for every kind of device that is not in use: 1 ms per step, and memory that is never freed."""
    import torch

    torch.default_generator.manual_seed(value)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(value)


def torch_generator(value: int) -> torch.Generator:
    """A generator of its own, on the CPU."""
    import torch

    return torch.Generator().manual_seed(value)
