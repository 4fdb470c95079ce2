"""Durable files: complete and on the disk before they have their name, also after a power failure; and the check for
damaged ones. Standard library only."""

import contextlib
import errno
import io
import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from scaling.errors import first_line

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Remembering(io.BufferedWriter):
    """A file that remembers the OSError of its disk: libraries such as torch raise one of their own instead."""

    refused: OSError | None = None

    def write(self, data: "ReadableBuffer") -> int:
        try:
            return super().write(data)
        except OSError as e:
            self.refused = e
            raise


@contextlib.contextmanager
def atomic(path: Path, keep: Path | None = None) -> Iterator[BinaryIO]:
    """A file to write into, which becomes `path` when the block ends: a reader, or a crash, sees the old file or the
    new one and nothing between. Where the block fails, nothing is left of it. keep: the name that the old file gets.

    Raises OSError that names path."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as e:
        raise naming(e, path) from e
    file = _Remembering(io.FileIO(handle, "wb"))
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner reads
        if keep is not None and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as e:
        Path(temporary).unlink(missing_ok=True)
        refused = e if isinstance(e, OSError) else file.refused
        if refused is not None:
            raise naming(refused, path) from e
        raise


def write_atomically(path: Path, content: str | bytes) -> Path:
    """Write content to path as `atomic` does. Raises OSError that names path."""
    with atomic(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return path


def sync_folder(folder: Path) -> None:
    """Bring names in a folder to the disk: without it a power cut may undo a renaming."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems have no such call
            raise
    finally:
        os.close(handle)


def naming(e: OSError, path: Path) -> OSError:
    """The same error with the name of its file, which the error of a write lacks."""
    return OSError(e.errno, e.strerror or str(e), str(path))


def damage_of(path: Path) -> str:
    """Damage of a file that torch.save wrote, in a few words; "" where there is none. All of the file is
    read: its members have a CRC-32 each, which torch.load does not look at (0.35 s for 400 MB that are in memory)."""
    try:
        with zipfile.ZipFile(path) as members:
            bad = members.testzip()
    except OSError:
        raise
    except Exception as e:  # a damaged file fails in as many ways as there are bytes
        return first_line(e)
    return f"{bad} in it does not have its checksum" if bad else ""


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that died while they wrote into a run's folder. The caller holds the
    folder: all files except config.json are written by the holder alone."""
    for pattern in (".record.json.*", ".curve.csv.*", ".weights.pt.*", ".last.ckpt.*", "*.writing"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
