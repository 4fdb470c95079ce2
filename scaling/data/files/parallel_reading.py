"""Reading many files in threads, with or without those that cannot be read."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from scaling.data.files.file_facts import Seen
from scaling.errors import ConfigError

T = TypeVar("T")


def in_threads(work: Callable[[int], T], indices: np.ndarray) -> Iterator[T | OSError]:
    """work(i) for every index, in order, on all cores; an OSError is given in the place of its result."""

    def safe(i: int) -> T | OSError:
        try:
            return work(int(i))
        except OSError as e:
            return e

    with ThreadPoolExecutor(max_workers=min(16, (os.cpu_count() or 1) + 2)) as pool:
        yield from pool.map(safe, indices, chunksize=1)


def read_all(load: Callable[[int], T], indices: np.ndarray, seen: Seen) -> list[T | OSError]:
    """load(i) for every index, as in_threads; an OSError for files that failed the examination, even if they decode."""

    def one(n: int) -> T:
        if n in seen.bad:
            raise OSError(seen.bad[n])
        return load(int(indices[n]))

    return list(in_threads(one, np.arange(len(indices))))


def without_bad(found: list[tuple[int, T | OSError]], bad_images: str, what: str) -> list[tuple[int, T]]:
    """The (index, result) pairs without OSErrors. Raises ConfigError if bad_images is "stop" and there is one, or if
    nothing remains."""
    good = [(i, r) for i, r in found if not isinstance(r, OSError)]
    bad = [r for _, r in found if isinstance(r, OSError)]
    if bad and bad_images == "stop":
        raise ConfigError(
            f"{len(bad)} unreadable {what} image(s), the first {bad[0]}; replace it, or use --on-bad-image skip"
        )
    if not good:
        raise ConfigError(f"none of the {len(found)} {what} images can be read; the first: {bad[0]}")
    return good
