"""A run with its loggers: they are opened with it, given its predictions at the end, and closed however it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scaling.config.experiment import ExperimentConfig
from scaling.config.runtime import RuntimeConfig
from scaling.engine.callbacks.curve_logger import CurveLogger
from scaling.engine.distributed import is_first_process
from scaling.engine.logged import close, log_pictures
from scaling.engine.loggers import make_loggers
from scaling.engine.predict import logged_pictures, place_of
from scaling.errors import ConfigError
from scaling.runs.events import Event, Report
from scaling.runs.run_folder import read_record
from scaling.tasks.base import TaskModule

PICTURES = 4  # test images whose predictions are logged


@contextmanager
def logged(
    config: ExperimentConfig,
    folder: Path,
    settings: RuntimeConfig,
    curve: CurveLogger,
    task: type[TaskModule],
    report: Report,
) -> Iterator[None]:
    """The block trains the run and writes its record; curve gives its numbers to the loggers. They are given
    predictions after the record is written, which is thus the same with and without them. Raises ConfigError where a
    logger's package is missing."""
    text = settings.logger if is_first_process() else ""
    loggers = make_loggers(text, folder, folder.name, config.group, config.to_dict())
    curve.loggers, finished = loggers, False
    try:
        yield
        record = read_record(folder)
        finished = record is not None and record.status == "finished"
        if loggers and record is not None and finished:
            place = place_of(config, settings, record)
            try:
                if pictures := logged_pictures(config, folder, PICTURES, task, place):
                    log_pictures(loggers, "predictions", pictures, curve.state.data.total_steps)
            except ConfigError as e:  # the run is finished all the same
                report(Event("note", text=f"no predictions are logged: {e}"))
    finally:
        close(loggers, finished)
