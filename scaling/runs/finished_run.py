"""A run whose model can be used: finished, with its weights."""

from pathlib import Path

from scaling.errors import ConfigError
from scaling.runs.record import RECORD, WEIGHTS, RunRecord


def finished_run(folder: Path) -> RunRecord:
    """The record of a finished run that has its weights. Raises ConfigError."""
    try:
        record = RunRecord.load(folder)
    except FileNotFoundError as e:
        raise ConfigError(f"{folder} is no finished run: it has no {RECORD}") from e
    if record.status != "finished":
        raise ConfigError(f"{folder} failed ({record.failure.get('reason')}): it has no model to use")
    if not (folder / WEIGHTS).is_file():
        raise ConfigError(f"{folder} has no {WEIGHTS} any more; its command makes it again once its folder is deleted")
    return record
