"""Files that outlast a crash or a power cut: written whole, on the disk before they have their name, and told from
damaged ones. Standard library only."""

import errno
import os
import tempfile
import zipfile
from pathlib import Path

from scaling.errors import first_line


def write_atomically(path: Path, content: str | bytes) -> Path:
    """Write content to path so that a reader, or a crash, sees the old file or the new one and nothing between. Raises
    OSError that names path."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as e:
        raise naming(e, path) from e
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(content.encode() if isinstance(content, str) else content)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner reads
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as e:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(e, OSError):
            raise naming(e, path) from e
        raise
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
    """The same error with the file that it is about: what a write raises says none."""
    return OSError(e.errno, e.strerror or str(e), str(path))


def damage_of(path: Path) -> str:
    """What is wrong with the bytes of a file that torch.save wrote, in a few words; empty: nothing. All of the file is
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
    """Remove what processes that died while they wrote have left in a run's folder, which the caller holds: all but
    recipe.json is written by its holder alone."""
    for pattern in (".record.json.*", ".curve.csv.*", ".weights.pt.*", "*.writing"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
