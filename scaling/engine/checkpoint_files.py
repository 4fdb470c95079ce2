"""Checkpoint files of a run: the last two are kept; each is on the disk before it has its name, and read if
undamaged."""

import os
from collections.abc import Callable
from pathlib import Path

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from scaling.engine.distributed import is_first_process
from scaling.errors import first_line
from scaling.runs.atomic_files import atomic, damage_of
from scaling.runs.record import CHECKPOINT
from scaling.runs.run_folder import PREVIOUS

HELD = ("run_id", "state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "global_step")


class CheckpointFiles(TorchCheckpointIO):
    """How Lightning writes checkpoints: into the run's folder, where Lightning's own way takes a detour over $TMPDIR,
    which may be full or another disk. The checkpoint before becomes PREVIOUS."""

    def save_checkpoint(self, checkpoint: dict[str, object], path: str | Path, storage_options: object = None) -> None:
        path = Path(path)
        with atomic(path, keep=path.with_name(PREVIOUS)) as file:
            torch.save(checkpoint, file)


def newest(folder: Path, note: Callable[[str], None]) -> Path | None:
    """The newest checkpoint of a run's folder that is undamaged and the run's own; None where there is none: the run
    starts from the beginning. One that cannot be used is renamed to *.damaged, and noted in a line."""
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
        reasons = "; ".join(f"{path.name}: {why}" for path, why in wrong.items())
        then = "resuming from the one before" if found else "starting from the beginning"
        note(f"checkpoint of {folder.name} cannot be used ({reasons}); {then}")
    return found


def _wrong_with(path: Path, run_id: str) -> str:
    """Why a run cannot be resumed from a checkpoint; empty: it can."""
    try:
        if damage := damage_of(path):
            return damage
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if missing := [name for name in HELD if name not in held]:
            return f"it has no {', '.join(missing)}"
    except Exception as e:  # a damaged file fails in as many ways as there are bytes
        if isinstance(e, MemoryError) or "allocate memory" in str(e):  # not the file's fault
            raise
        return first_line(e)
    return "" if held["run_id"] == run_id else f"it belongs to {held['run_id']}"
