"""The process that trains: one run, with everything that it and its libraries print in the run's log.txt."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path

from experiments.launch.outcome import Outcome, outcome_of
from experiments.launch.progress_file import ProgressFile
from scaling.config.experiment import ExperimentConfig
from scaling.config.plugin_files import load_for_job
from scaling.config.runtime import RuntimeConfig
from scaling.errors import ConfigError, first_line
from scaling.runs.events import Event
from scaling.runs.identity import folder_of, training_folder
from scaling.runs.record import LOG
from scaling.runs.stop_signals import as_ctrl_c

STOPPED = "stopped; the same command resumes it"
RUN = Path(__file__).resolve().parents[1] / "run.py"


def run_quietly(
    config: ExperimentConfig,
    results: Path,
    settings: RuntimeConfig,
    report: Callable[[Event], None],
    wait: bool = False,
) -> Outcome:
    """Train in this process. Never raises: errors are in the outcome, their tracebacks in log.txt.

    wait: for another process that is training this run, instead of leaving it alone.
    """
    folder, progress = folder_of(config, results), ProgressFile(config, results)

    def show(event: Event) -> None:
        progress.show(event)
        report(event)

    try:  # by itself: the handlers below need what it imports
        from scaling.engine.train import train
        from scaling.engine.trainer import hush
        from scaling.errors import RunLockedError, TrainingInterrupted
    except KeyboardInterrupt:
        return Outcome(130, STOPPED)
    except (ImportError, MemoryError, OSError) as e:
        return Outcome(1, f"torch and lightning cannot be loaded ({first_line(e)}); is there memory for them?")
    try:
        hush()
        return outcome_of(train(config, results, settings, show, wait=-1 if wait else 0))
    except ConfigError as e:
        return Outcome(2, bad_input_line(e))
    except RunLockedError:
        return Outcome(0, "running in another process; checked again at the end", elsewhere=True)
    except TrainingInterrupted as e:
        return Outcome(130, STOPPED, signal=str(e))
    except KeyboardInterrupt:
        return Outcome(130, STOPPED)
    except OSError as e:
        _log(folder, traceback.format_exc())
        what = f"{e.strerror or e}" + (f": {e.filename}" if e.filename else "")
        return Outcome(1, f"{what}; the same command resumes the run once that is fixed")
    except Exception as e:
        _log(folder, traceback.format_exc())
        return Outcome(1, f"{type(e).__name__}: {first_line(e, 300)} (traceback in {folder / LOG})")
    finally:
        progress.remove()


def bad_input_line(e: ConfigError) -> str:
    """The message of a ConfigError, also where a worker process of torch's loader has wrapped it in a traceback."""
    lines = str(e).rpartition("ConfigError: ")[2].splitlines()  # more than one where a file's name has a line break
    return " ".join(line for line in lines if line.strip()) or "bad input"


def child_main(config: dict[str, object], results: str, settings: RuntimeConfig, wait: bool, pipe: Connection) -> None:
    """Entry of a process of `LocalPool`: events, and at the end the outcome, go through the pipe."""
    # First of all, until the run has a folder of its own: a stop may come at once, and nobody wants its traceback.
    output_into(Path(os.devnull))
    as_ctrl_c()  # a stop is a clean one outside of training too
    try:
        load_for_job(config)
    except ConfigError as e:
        pipe.send(Outcome(2, str(e)))
        sys.exit(2)
    value, folder = ExperimentConfig.from_dict(config), Path(results)
    # Where several devices share a run, Lightning starts the other processes by the command line of this one.
    given = {name: value for name, value in asdict(settings).items() if value is not None}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if name != "max_parallel_runs"]
    options += [f"--recipes={value.plugin.recipes}"] if value.plugin.recipes else []
    sys.argv = [str(RUN), str(training_folder(value, folder)), f"--results={results}", *options]

    def send(item: Event | Outcome) -> None:
        if isinstance(item, Event) and item.kind == "open":
            output_into(training_folder(value, folder) / LOG)
            return
        try:
            pipe.send(item)
        except OSError:  # the sweep is gone: stop as on Ctrl-C, the run can be resumed
            signal.raise_signal(signal.SIGINT)

    try:
        outcome = run_quietly(value, folder, settings, send, wait)
    except KeyboardInterrupt:
        outcome = Outcome(130, STOPPED)
    with suppress(OSError):
        pipe.send(outcome)
    sys.exit(outcome.status)


def output_into(path: Path) -> None:
    """From here on, all that this process and its libraries print goes to the end of path."""
    sys.stdout.flush()
    sys.stderr.flush()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


def _log(folder: Path, text: str) -> None:
    if folder.is_dir():
        with suppress(OSError), open(folder / LOG, "a") as f:  # the disk that is full may be this one
            f.write(text)
