"""Checkpoints of a run: the last two, each whole on the disk before it has its name, and read only if undamaged."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from scaling.engine.distributed import is_first_process
from scaling.errors import first_line
from scaling.runs.atomic_files import damage_of, naming, sync_folder
from scaling.runs.record import CHECKPOINT

PREVIOUS = "previous.ckpt"  # the one before CHECKPOINT
WRITING = ".writing"  # suffix of a file that has not got its name yet
HELD = ("run_id", "state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "global_step")


class InPlace(TorchCheckpointIO):
    """Lightning's way to write checkpoints, without the detour over $TMPDIR, which may be full or another disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write(checkpoint, Path(path))


class _Remembering(io.BufferedWriter):
    """A file that keeps what its disk said: torch makes a RuntimeError of its own of it."""

    said: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as e:
            self.said = e
            raise


def write(values: Any, path: Path) -> None:
    """torch.save, down to the disk. Raises OSError that names path, of which nothing is left then."""
    file = _Remembering(io.FileIO(path, "wb"))
    try:
        try:
            torch.save(values, file)
            file.flush()
            os.fsync(file.fileno())
        finally:
            file.close()
    except BaseException as e:
        path.unlink(missing_ok=True)
        refused = e if isinstance(e, OSError) else file.said
        if refused is not None:
            raise naming(refused, path) from e
        raise


def put(written: Path, path: Path) -> None:
    """Give a file that `write` wrote its name, for good."""
    os.replace(written, path)
    sync_folder(path.parent)


def keep(written: Path, folder: Path) -> None:
    """Make a file that `write` wrote the run's last checkpoint, and the last one the one before."""
    last = folder / CHECKPOINT
    if last.exists():
        os.replace(last, folder / PREVIOUS)
    put(written, last)


def newest(folder: Path, note: Callable[[str], None]) -> Path | None:
    """The newest checkpoint of a run's folder that is undamaged and the run's own. One that is not is set aside, and
    said in a line; None where there is none left: the run starts anew."""
    found, wrong = None, {}
    for path in (folder / CHECKPOINT, folder / PREVIOUS):
        why = _wrong_with(path, folder.name) if path.exists() else None
        if why == "":
            found = path
            break
        if why is not None:
            wrong[path] = why
    if is_first_process():  # of several processes that share a run, one
        for path in wrong:
            os.replace(path, path.with_suffix(".damaged"))
    if wrong:
        said = "; ".join(f"{path.name}: {why}" for path, why in wrong.items())
        then = "going on from the one before" if found else "starting anew"
        note(f"checkpoint of {folder.name} cannot be used ({said}); {then}")
    return found


def _wrong_with(path: Path, run_id: str) -> str:
    """Why a checkpoint cannot be resumed from; empty: it can."""
    try:
        if damage := damage_of(path):
            return damage
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if missing := [name for name in HELD if name not in held]:
            return f"it has no {', '.join(missing)}"
    except Exception as e:  # a damaged file fails in as many ways as there are bytes
        if isinstance(e, MemoryError) or "allocate memory" in str(e):  # which is not the file's fault
            raise
        return first_line(e)
    return "" if held["run_id"] == run_id else f"it belongs to {held['run_id']}"
