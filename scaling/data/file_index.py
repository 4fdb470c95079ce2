"""What was found out about the files of a data set, remembered beside the results: a start reads only what it has not
read before, or what has changed since.

results/.index/SPLIT-HASH.npz has a row a file: its name below the data folder, its stamp (size and time of change, both
of an image and its label), a digest of its content, its height and width, what decoding does to it, which classes a
label of it has, and what is wrong with it. A file is as it was where its stamp is. A damaged table, or one of another
version, is made anew. Nothing in it is ever executed.

Every byte is read once: to find truncated files, and for the fingerprint by which a run knows its data wherever they
lie (scaling/runs/identity.py). N files.
"""

import contextlib
import hashlib
import io
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from filelock import FileLock

from scaling.runs.atomic_files import write_atomically

FOLDER = ".index"  # in a results folder
VERSION = 2  # of the tables there, and of what is found wrong with a file
WIDTH = 16  # of a digest [bytes]
PART, CUT = 1024, 32  # files that are handed to threads at a time, and to one of them
SECONDS = 60.0  # after which what was read is written down
MANY = 20_000  # files to be read that are worth a word
TABLE = ("stamp_N4", "digest_ND", "size_N2", "note_N", "present_NB")  # of Seen
Say = Callable[[str], None]


class Facts(NamedTuple):
    """Of one file, or of an image and its label."""

    digest: bytes  # of the content; nothing where it cannot be read, which is not remembered
    size: tuple[int, int] = (0, 0)  # height and width [px]; 0 where they are not asked for
    bad: str = ""  # what is wrong with it, with its name
    note: int = 0  # what decoding does to it: decoding.Note
    present: bytes = b""  # the classes in its label, a bit each


class Examined(Protocol):
    """Files that can be examined. key: by which their table is found; file_names: of all of them, below their folder;
    about: what else their content is, for the fingerprint; width: of Facts.present [bytes]."""

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
        """(n, 4) int64, another wherever a file is another; zeros for one that is not there."""

    def examine(self, i: int) -> Facts:
        """Read and check the i-th. Raises ConfigError for what no run can go on with."""


@dataclass(frozen=True)
class Seen:
    """What is known of some files, in their order."""

    names: list[str]
    stamp_N4: np.ndarray
    digest_ND: np.ndarray  # uint8
    size_N2: np.ndarray  # [px]
    note_N: np.ndarray  # uint8
    present_NB: np.ndarray  # uint8, the classes in a label, a bit each
    bad: dict[int, str]  # position -> what is wrong

    def take(self, positions: np.ndarray) -> "Seen":
        """Some of them, or all: positions ascend."""
        if len(positions) == len(self.names):
            return self
        bad = {n: self.bad[old] for n, old in enumerate(positions.tolist()) if old in self.bad}
        names = [self.names[n] for n in positions.tolist()]
        return Seen(names=names, bad=bad, **{column: getattr(self, column)[positions] for column in TABLE})

    def errors(self) -> list[OSError | None]:
        """An OSError in the place of each file that cannot be used."""
        return [OSError(self.bad[n]) if n in self.bad else None for n in range(len(self.names))]


def _nothing(names: list[str], stamp_N4: np.ndarray, width: int) -> Seen:
    """Rows for these files with nothing in them."""
    n = len(names)
    digest_ND, size_N2 = np.zeros((n, WIDTH), np.uint8), np.zeros((n, 2), np.int64)
    return Seen(names, stamp_N4, digest_ND, size_N2, np.zeros(n, np.uint8), np.zeros((n, width), np.uint8), {})


def digest(*parts: bytes) -> bytes:
    """BLAKE2b of some bytes, which releases Python's lock while it reads them."""
    hashed = hashlib.blake2b(digest_size=WIDTH)
    for part in parts:
        hashed.update(len(part).to_bytes(8, "little"))
        hashed.update(part)
    return hashed.digest()


def stamp(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Size [bytes] and time of the last change [ns]; zeros where there is nothing."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # there are names that no file can have
        return 0, 0
    return found.st_size, found.st_mtime_ns


def stamps(paths: list[str]) -> np.ndarray:
    """(n, 2): of many files, in threads, as a file of a network is asked for far away."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        cuts = (paths[n : n + PART] for n in range(0, len(paths), PART))
        found = [one for part in pool.map(lambda cut: [stamp(path) for path in cut], cuts) for one in part]
    return np.array(found, np.int64).reshape(-1, 2)


def look(files: Examined, indices: np.ndarray, results: Path | None, say: Say | None = None) -> Seen:
    """What is known of the files at indices, read where it has to be. results: where it is remembered; None: nowhere.

    Of several processes one reads and the others wait for it. Raises ConfigError as examine does; what was read until
    then is remembered."""
    names, stamp_N4 = [files.file_names[i] for i in indices.tolist()], files.stamps(indices)
    path = None if results is None else _path(files, results)
    seen, fresh_N = _known(path, names, stamp_N4, files.width)
    if fresh_N.all():
        return seen
    with _alone(path):
        if path is not None:  # the process that we waited for may have done it
            seen, fresh_N = _known(path, names, stamp_N4, files.width)
        todo = np.flatnonzero(~fresh_N)
        if say is not None and len(todo) >= MANY:
            say(f"reading {len(todo)} {files.split} files, once: what is found is remembered in {path or 'nothing'}")
        saved = time.monotonic()
        try:
            for n, facts in zip(todo.tolist(), _in_threads(files.examine, indices[todo].tolist()), strict=False):
                _put(seen, n, facts)
                fresh_N[n] = bool(facts.digest)
                if path is not None and time.monotonic() - saved > SECONDS:
                    _remember(path, seen, fresh_N, files.file_names)
                    saved = time.monotonic()
        finally:
            if path is not None and len(todo):
                _remember(path, seen, fresh_N, files.file_names)
    return seen


def known(files: Examined, indices: np.ndarray, results: Path) -> Seen | None:
    """As look, of what was read before; None where a file is to be read."""
    names, stamp_N4 = [files.file_names[i] for i in indices.tolist()], files.stamps(indices)
    seen, fresh_N = _known(_path(files, results), names, stamp_N4, files.width)
    return seen if fresh_N.all() else None


def fingerprint(used: Iterable[tuple[Examined, Seen]]) -> str:
    """16 hex digits of what the files hold and how they are called, in their order: equal wherever they lie."""
    parts = []
    for files, seen in used:
        parts += ["\0".join(seen.names).encode(errors="surrogateescape"), seen.digest_ND.tobytes(), files.about]
    return digest(*parts).hex()[:16]


def _path(files: Examined, results: Path) -> Path:
    return Path(results) / FOLDER / f"{files.split}-{digest(files.key.encode(errors='surrogateescape')).hex()[:16]}.npz"


@contextlib.contextmanager
def _alone(path: Path | None) -> Iterator[None]:
    """Hold a table against other processes; where nothing can be written, each does it for itself."""
    if path is None:
        yield
        return
    lock = FileLock(path.with_suffix(".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _in_threads(examine: Callable[[int], Facts], indices: list[int]) -> Iterator[Facts]:
    """On all cores, in order; some hundred at a time, so that a million files are not a million waiting tasks."""
    workers = min(16, (os.cpu_count() or 1) + 2)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for first in range(0, len(indices), PART):
            part = indices[first : first + PART]
            cuts = [part[n : n + CUT] for n in range(0, len(part), CUT)]
            for found in pool.map(lambda cut: [examine(i) for i in cut], cuts):
                yield from found


def _known(path: Path | None, names: list[str], stamp_N4: np.ndarray, width: int) -> tuple[Seen, np.ndarray]:
    """Rows for all names, and which of them are filled."""
    n = len(names)
    seen, fresh_N, held = _nothing(names, stamp_N4, width), np.zeros(n, bool), _load(path, width)
    if not held.names:
        return seen, fresh_N
    if held.names == names:
        at, rows = np.arange(n), np.arange(n)
    else:
        row_of = {name: row for row, name in enumerate(held.names)}
        both = [(k, row_of[name]) for k, name in enumerate(names) if name in row_of]
        at, rows = np.array(both, np.int64).reshape(-1, 2).T
    same = (held.stamp_N4[rows] == stamp_N4[at]).all(axis=1) & stamp_N4[at].any(axis=1)
    at, rows = at[same], rows[same]
    for column in TABLE[1:]:
        getattr(seen, column)[at] = getattr(held, column)[rows]
    fresh_N[at] = True
    if held.bad:
        seen.bad.update(
            {k: held.bad[row] for k, row in zip(at.tolist(), rows.tolist(), strict=True) if row in held.bad}
        )
    return seen, fresh_N


def _put(seen: Seen, n: int, facts: Facts) -> None:
    if facts.digest:
        seen.digest_ND[n] = np.frombuffer(facts.digest, np.uint8)
    seen.size_N2[n], seen.note_N[n] = facts.size, facts.note
    if facts.present:
        seen.present_NB[n] = np.frombuffer(facts.present, np.uint8)
    if facts.bad:
        seen.bad[n] = facts.bad


def _remember(path: Path, seen: Seen, fresh_N: np.ndarray, names: Sequence[str]) -> None:
    """Write what is known of these files, and of others that are still there; where that cannot be, do without."""
    held, ours = _load(path, seen.present_NB.shape[1]), set(seen.names)
    there = set(names) - ours if set(held.names) - ours else set()
    kept = [row for row, name in enumerate(held.names) if name in there]
    rows = np.flatnonzero(fresh_N).tolist()
    texts = [seen.bad.get(n, "") for n in rows] + [held.bad.get(row, "") for row in kept]
    arrays = {
        "version": np.array(VERSION),
        "names": _packed([*(seen.names[n] for n in rows), *(held.names[row] for row in kept)]),
        "bad": _packed([f"{n} {text}" for n, text in enumerate(texts) if text]),
        **{name: np.concatenate([getattr(seen, name)[rows], getattr(held, name)[kept]]) for name in TABLE},
    }
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    with contextlib.suppress(OSError):
        write_atomically(path, content.getvalue())


def _load(path: Path | None, width: int) -> Seen:
    """The table in a file; nothing where there is none, or none that can be read."""
    nothing = _nothing([], np.zeros((0, 4), np.int64), width)
    if path is None or not path.is_file():
        return nothing
    try:
        with np.load(path, allow_pickle=False) as held:
            if int(held["version"]) != VERSION:
                return nothing
            bad = dict(text.split(" ", 1) for text in _unpacked(held["bad"]))
            arrays = {name: held[name] for name in TABLE}
            seen = Seen(_unpacked(held["names"]), bad={int(n): text for n, text in bad.items()}, **arrays)
        n = len(seen.names)
        shapes = tuple(arrays[name].shape for name in TABLE)
        return seen if shapes == ((n, 4), (n, WIDTH), (n, 2), (n,), (n, width)) else nothing
    except Exception:  # a damaged file fails in as many ways as there are bytes
        return nothing


def _packed(texts: list[str]) -> np.ndarray:
    return np.frombuffer("\0".join(texts).encode(errors="surrogateescape"), np.uint8)


def _unpacked(packed: np.ndarray) -> list[str]:
    text = packed.tobytes().decode(errors="surrogateescape")
    return text.split("\0") if text else []
