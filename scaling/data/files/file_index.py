"""An index of the files of a data set, stored with the results: a start reads only files that are new or have changed.

results/.index/SPLIT-HASH.npz has a row per file: its name below the data folder, its stamp (size and modification time,
of an image and of its label), a digest of its content, its height and width, what decoding changes, which classes occur
in its label map, and its error message. A file is unchanged where its stamp is. A damaged table, or one of another
version, is rebuilt. Nothing in it is ever executed.

Every byte is read once: to find truncated files, and for the fingerprint that identifies the data of a run wherever it
is stored (scaling/data/fingerprints.py). N files.
"""

import contextlib
import io
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from filelock import FileLock

from scaling.data.files.file_facts import PART, TABLE, WIDTH, DataFiles, Facts, Seen, digest, nothing_seen
from scaling.runs.atomic_files import write_atomically

FOLDER = ".index"  # in a results folder
VERSION = 3  # of the tables, and of the checks
CUT = 32  # files that a thread reads at a time
SECONDS = 60.0  # between two writings of a table
MANY = 20_000  # files to be read of which the user is notified
Notify = Callable[[str], None]


def look(files: DataFiles, indices: np.ndarray, results: Path | None, notify: Notify | None = None) -> Seen:
    """What is known of the files at indices; those that are new or changed are read. results: where the index is; None:
    nowhere.

    Of several processes one reads and the others wait for it. Raises ConfigError as examine does; what was read until
    then is stored."""
    names, stamp_N4 = [files.file_names[i] for i in indices.tolist()], files.stamps(indices)
    path = None if results is None else _path(files, results)
    seen, fresh_N = _known(path, names, stamp_N4, files.width)
    if fresh_N.all():
        return seen
    with _alone(path):
        if path is not None:  # the process that was waited for may have done it
            seen, fresh_N = _known(path, names, stamp_N4, files.width)
        todo = np.flatnonzero(~fresh_N)
        if notify is not None and len(todo) >= MANY:
            notify(f"reading {len(todo)} {files.split} files, once: the result is kept in {path or 'memory only'}")
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


def known(files: DataFiles, indices: np.ndarray, results: Path) -> Seen | None:
    """The result of look without reading; None where a file is new or changed."""
    names, stamp_N4 = [files.file_names[i] for i in indices.tolist()], files.stamps(indices)
    seen, fresh_N = _known(_path(files, results), names, stamp_N4, files.width)
    return seen if fresh_N.all() else None


def fingerprint(used: Iterable[tuple[DataFiles, Seen]]) -> str:
    """16 hex digits of the content and the names of the files, in their order: the same wherever they are stored."""
    parts = []
    for files, seen in used:
        parts += ["\0".join(seen.names).encode(errors="surrogateescape"), seen.digest_ND.tobytes(), files.about]
    return digest(*parts).hex()[:16]


def _path(files: DataFiles, results: Path) -> Path:
    return Path(results) / FOLDER / f"{files.split}-{digest(files.key.encode(errors='surrogateescape')).hex()[:16]}.npz"


@contextlib.contextmanager
def _alone(path: Path | None) -> Iterator[None]:
    """Lock a table against other processes; where nothing can be written, each works on its own."""
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
    """On all cores, in order; PART at a time, so that a million files are not a million queued tasks."""
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
    seen, fresh_N, held = nothing_seen(names, stamp_N4, width), np.zeros(n, bool), _load(path, width)
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
    """Write what is known of these files, and of others that still exist; nothing where that is impossible."""
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
    """The table in a file; empty where there is none, or none that can be read."""
    nothing = nothing_seen([], np.zeros((0, 4), np.int64), width)
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
