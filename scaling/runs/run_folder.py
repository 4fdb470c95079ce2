"""The folder of a run: who holds it, what is in it, and what state the run is in. No torch: launchers, sweeps, plans
and analysis ask this."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path

from filelock import FileLock, Timeout

from scaling.config.experiment import ExperimentConfig
from scaling.errors import ConfigError, NewerRecordError, RunLockedError
from scaling.runs.config_file import write_config
from scaling.runs.identity import training_folder
from scaling.runs.record import CHECKPOINT, RECORD, RunRecord

LOCK = ".lock"
PREVIOUS = "previous.ckpt"  # the checkpoint before CHECKPOINT
PROBE_SECONDS = 0.3  # a holder waits so long at least: `state` holds a folder for an instant to see whether it can


class State(Enum):
    """The state of a run, by the files in its folder."""

    NOT_BEGUN = "not begun"  # no checkpoint: it starts from its first step
    RUNNING = "running"  # a process holds the folder
    INTERRUPTED = "interrupted"  # a checkpoint and no record: it can be resumed
    FINISHED = "finished"
    FAILED = "failed"


def state(folder: Path) -> State:
    """The state of the run in a folder, which need not exist. A damaged record counts as none: the run is done again.
    Raises NewerRecordError where a newer version of this code wrote the record."""
    record = read_record(folder)
    if record is not None:
        return State(record.status)
    if _is_held(folder):
        return State.RUNNING
    begun = any((folder / name).exists() for name in (CHECKPOINT, PREVIOUS))
    return State.INTERRUPTED if begun else State.NOT_BEGUN


def read_record(folder: Path, note: Callable[[str], None] = lambda text: None) -> RunRecord | None:
    """The folder's record; None where there is none, or a damaged one, which is noted in a line. Raises
    NewerRecordError where a newer version of this code wrote it."""
    try:
        return RunRecord.load(folder)
    except FileNotFoundError:
        return None
    except NewerRecordError:
        raise
    except ConfigError as e:
        note(str(e))
        return None


def status_of(folder: Path) -> str:
    """The status in a folder's record, "finished" or "failed", without a look at the rest of it, which takes ten times
    as long; "" where there is no record, or none that can be read."""
    try:
        return str(json.loads((folder / RECORD).read_bytes())["status"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _is_held(folder: Path) -> bool:
    lock = folder / LOCK
    if not (lock.is_file() and os.access(lock, os.W_OK)):
        return False
    try:
        with FileLock(lock).acquire(timeout=0):
            return False
    except (Timeout, OSError):
        return True


@contextlib.contextmanager
def hold(folder: Path, wait: float = 0) -> Iterator[None]:
    """Hold a run's folder against every other process, for as long as this one lives. Raises RunLockedError.

    wait: seconds to wait for another holder; -1: without end.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=wait if wait < 0 else max(wait, PROBE_SECONDS))
    except Timeout as e:
        raise RunLockedError(folder.name) from e
    try:
        yield
    finally:
        lock.release()


def open_run(config: ExperimentConfig, results: Path) -> Path:
    """The run's folder, made where it is missing, with its config.json. Raises ConfigError where it cannot be
    written."""
    folder = training_folder(config, results)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_config(config, folder)
    except OSError as e:
        raise ConfigError(f"results folder {results} cannot be written ({e.strerror}); name another: --results") from e
    return folder
