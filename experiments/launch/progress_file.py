"""progress.json in a run's folder: how far a run is, for whoever has no pipe to its process. No torch."""

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from scaling.config.experiment import ExperimentConfig
from scaling.engine.distributed import is_first_process
from scaling.runs.events import Event, Progress
from scaling.runs.identity import training_folder

PROGRESS = "progress.json"
SECONDS = 5.0  # between two writes, and before the first: a shorter run has no file


class Seen(NamedTuple):
    """Contents of a run's file. age: of the file, by its file system [s]."""

    progress: Progress
    age: float

    @property
    def eta(self) -> float:
        """To the end of training, from now on [s]; nan: not known."""
        return max(0.0, self.progress.eta - self.age)


class ProgressFile:
    """Writes the file at events of a run's training. That a run is under way its lock shows, not this file."""

    def __init__(self, config: ExperimentConfig, results: Path) -> None:
        self.config, self.results = config, results
        self._path: Path | None = None  # once this process has written it
        self._due = time.monotonic() + SECONDS

    def show(self, event: Event) -> None:
        if event.kind != "train" or time.monotonic() < self._due or not is_first_process():
            return
        self._due = time.monotonic() + SECONDS
        self._path = self._path or training_folder(self.config, self.results) / PROGRESS
        new = self._path.with_name(f".{PROGRESS}.new")  # the holder of the folder alone writes it
        with suppress(OSError):  # a run is not stopped for a file that nothing depends on
            new.write_text(json.dumps(event.progress._asdict()))
            os.replace(new, self._path)

    def remove(self) -> None:
        """Once the run has ended."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)


def read_progress(folder: Path) -> Seen | None:
    """The progress of the run in a folder; None where its file is missing or cannot be read."""
    path = folder / PROGRESS
    try:
        values = json.loads(path.read_text())
        return Seen(Progress(**values), max(0.0, time.time() - path.stat().st_mtime))
    except (OSError, ValueError, TypeError):
        return None
