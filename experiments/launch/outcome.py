"""How a run of a sweep ended, in one line."""

import math
from pathlib import Path
from typing import NamedTuple

from scaling.errors import NewerRecordError
from scaling.runs.record import HEADLINES, RunRecord
from scaling.runs.run_folder import read_record


class Outcome(NamedTuple):
    """How a run ended. status: exit status of run.py for it: 0 finished, 1 failed, 2 bad input, 130 stopped."""

    status: int
    text: str  # one line
    found: bool = False  # its record was there already: nothing was trained
    elsewhere: bool = False  # nothing was trained: another process is training it
    seconds: float = math.nan  # that this took [s]; nan: not known
    signal: str = ""  # of a run that was stopped: by which signal, as SIGUSR1


def outcome_of(record: RunRecord) -> Outcome:
    """A record in one line."""
    if record.status == "failed":
        f = record.failure
        return Outcome(1, f"{f['reason']} at step {f['step']}, learning rate {f['lr']:.3g}; delete its folder to retry")
    metric, name = HEADLINES[record.experiment().task.kind]
    headline = f", {name} {record.metrics[metric]:.1f} %" if metric in record.metrics else ""
    return Outcome(0, f"test loss {record.test_loss:.4f} nats{headline}, {record.wall_time:.0f} s")


def recorded(folder: Path) -> Outcome | None:
    """The outcome by the folder's record; None where the run is to be done, or done again because its record is damaged
    (which is noted when it is)."""
    try:
        record = read_record(folder)
    except NewerRecordError as e:
        return Outcome(1, str(e), found=True)
    return None if record is None else outcome_of(record)._replace(found=True)
