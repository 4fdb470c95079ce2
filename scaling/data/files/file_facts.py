"""What is known of the files of a data set: Facts of one file, Seen of many, and what a source of files has to offer.

N files.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

WIDTH = 16  # of a digest [bytes]
PART = 1024  # files that a thread looks up at a time
TABLE = ("stamp_N4", "digest_ND", "size_N2", "note_N", "present_NB")  # of Seen


class Facts(NamedTuple):
    """Facts of one file, or of an image and its label."""

    digest: bytes  # of the content; empty where it cannot be read, which is not stored
    size: tuple[int, int] = (0, 0)  # height and width [px]; 0 where they are not needed
    bad: str = ""  # error message, with the name; empty for a valid file
    note: int = 0  # what decoding does to it: decoding.Note
    present: bytes = b""  # the classes in its label map, one bit each


class DataFiles(Protocol):
    """The files of a split. key: identifies their table; split: "train" or "test"; file_names: of all of them, below
    their folder; about: further content for the fingerprint; width: of Facts.present [bytes]."""

    @property
    def key(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def file_names(self) -> Sequence[str]: ...
    @property
    def about(self) -> bytes: ...
    @property
    def width(self) -> int: ...

    def stamps(self, indices: np.ndarray) -> np.ndarray:
        """(n, 4) int64, which differ wherever files differ; zeros for a missing one."""

    def examine(self, i: int) -> Facts:
        """Read and check the i-th. Raises ConfigError for what no run can continue with."""


FilesOf = TypeVar("FilesOf", bound=DataFiles, covariant=True)  # the class of files of one source


@dataclass(frozen=True)
class Selected(Generic[FilesOf]):
    """Files of a split, and the indices of those that a recipe uses."""

    files: FilesOf
    indices: np.ndarray


@dataclass(frozen=True)
class Seen:
    """What is known of some files, in their order: a row per file."""

    names: list[str]
    stamp_N4: np.ndarray
    digest_ND: np.ndarray  # uint8
    size_N2: np.ndarray  # [px]
    note_N: np.ndarray  # uint8
    present_NB: np.ndarray  # uint8, the classes in a label map, one bit each
    bad: dict[int, str]  # position -> error message

    def take(self, positions: np.ndarray) -> "Seen":
        """The rows at these ascending positions."""
        if len(positions) == len(self.names):
            return self
        bad = {n: self.bad[old] for n, old in enumerate(positions.tolist()) if old in self.bad}
        names = [self.names[n] for n in positions.tolist()]
        return Seen(names=names, bad=bad, **{column: getattr(self, column)[positions] for column in TABLE})

    def errors(self) -> list[OSError | None]:
        """An OSError in the place of each file that cannot be used."""
        return [OSError(self.bad[n]) if n in self.bad else None for n in range(len(self.names))]


def nothing_seen(names: list[str], stamp_N4: np.ndarray, width: int) -> Seen:
    """Empty rows for these files."""
    n = len(names)
    digest_ND, size_N2 = np.zeros((n, WIDTH), np.uint8), np.zeros((n, 2), np.int64)
    return Seen(names, stamp_N4, digest_ND, size_N2, np.zeros(n, np.uint8), np.zeros((n, width), np.uint8), {})


def digest(*parts: bytes) -> bytes:
    """BLAKE2b of some bytes; it releases the GIL."""
    hashed = hashlib.blake2b(digest_size=WIDTH)
    for part in parts:
        hashed.update(len(part).to_bytes(8, "little"))
        hashed.update(part)
    return hashed.digest()


def stamp(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Size [bytes] and time of the last change [ns]; zeros for a missing file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # some names are invalid
        return 0, 0
    return found.st_size, found.st_mtime_ns


def stamps(paths: list[str]) -> np.ndarray:
    """(n, 2), of many files: in threads, as network file systems answer slowly."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        cuts = (paths[n : n + PART] for n in range(0, len(paths), PART))
        found = [one for part in pool.map(lambda cut: [stamp(path) for path in cut], cuts) for one in part]
    return np.array(found, np.int64).reshape(-1, 2)
