"""State of the runs of a results folder, from their folders and SLURM's queue, while others write: sweep.py --status.
And the end of their jobs: sweep.py --cancel. No torch."""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from analysis.report.output import counted, print_wrapped
from experiments.launch import slurm_queue
from experiments.launch.outcome import outcome_of
from experiments.launch.progress_file import read_progress
from experiments.launch.slurm_jobs import read_jobs, reported
from experiments.launch.slurm_queue import Queued
from experiments.sweep_report import last_lines
from scaling.config.experiment import ExperimentConfig
from scaling.data.fingerprints import with_fingerprints
from scaling.errors import ConfigError, NewerRecordError
from scaling.runs.config_file import config_path
from scaling.runs.identity import folder_of, looked_through_once
from scaling.runs.record import LOG, RECORD
from scaling.runs.run_folder import State, read_record, state, status_of

STATES = ("running", "queued", "failed", "stopped", "to do", "finished")  # in the order in which they are shown
SHOWN = 20  # runs; of more, those that are finished have no line each


class Seen(NamedTuple):
    """The state of a run. details: below its line."""

    state: str
    text: str = ""
    details: Sequence[str] = ()


DONE = Seen("finished")


def show(runs: Sequence[ExperimentConfig], results: Path) -> int:
    """Print a line for each run: of these, or else of the results folder and its jobs. Returns the exit status."""
    job_of, queued = _jobs(results)
    folders = _folders(runs, results, job_of)
    brief = len(folders) > SHOWN
    seen = {
        run_id: DONE if brief and status_of(folder) == DONE.state else _seen(folder, job_of.get(run_id, ""), queued)
        for run_id, folder in folders.items()
    }
    numbers = Counter(one.state for one in seen.values())
    said = [f"{numbers[name]} {name}" for name in reversed(STATES) if numbers[name]]
    print_wrapped(f"{counted(len(seen), 'run')}: {', '.join(said) or 'none yet'}, in {results}")
    for name in STATES:
        if name == DONE.state and brief:
            continue
        for run_id, one in seen.items():
            if one.state == name:
                print(f"{name:8} {run_id}")
                for line in filter(None, (one.text, *one.details)):
                    print_wrapped(" " * 9 + line, indent=9)
    return 0


def not_finished(results: Path, finished: Collection[str]) -> dict[str, Seen]:
    """The state of the runs of a results folder and its jobs, by folder, without those of these names."""
    job_of, queued = _jobs(results)
    folders = _folders((), results, job_of)
    return {
        name: _seen(folder, job_of.get(name, ""), queued) for name, folder in folders.items() if name not in finished
    }


def cancel(runs: Sequence[ExperimentConfig], results: Path) -> int:
    """End the jobs of these runs, or else all of the results folder. Returns the exit status. Raises ConfigError."""
    jobs = read_jobs(results)
    if not jobs:
        raise ConfigError(f"no jobs were submitted for {results}; Ctrl-C ends a sweep on this machine")
    queued = slurm_queue.queue()
    ours = set(_folders(runs, results, {})) if runs else None
    ending = [job for job, its in jobs.items() if job in queued and (ours is None or ours.intersection(its))]
    slurm_queue.cancel(ending)
    said = "those that ran save a checkpoint; the command that submitted them resumes it"
    print_wrapped(f"{counted(len(ending), 'job')} cancelled: {said}" if ending else "no job waits or runs")
    return 0


def _jobs(results: Path) -> tuple[dict[str, str], dict[str, Queued]]:
    """The job of each run that has one, by run_id, and SLURM's queue where there are jobs."""
    jobs, queued = read_jobs(results), dict[str, Queued]()
    if jobs:
        try:
            queued = slurm_queue.queue()
        except ConfigError as e:
            print_wrapped(f"which jobs wait is not known: {e}")
    return {run_id: job for job, its in jobs.items() for run_id in its}, queued


def _folders(runs: Sequence[ExperimentConfig], results: Path, job_of: dict[str, str]) -> dict[str, Path]:
    """The folder of each run, by run_id."""
    if runs:
        with looked_through_once():
            named = with_fingerprints(runs, results, read=False).values()
            return {run.run_id: folder_of(run, results) for run in named}
    try:
        folders = sorted(path for path in results.iterdir() if config_path(path) or (path / RECORD).is_file())
    except OSError as e:
        raise ConfigError(f"no results folder {results} ({e.strerror}); name one: --results") from e
    return {path.name: path for path in folders} | {name: results / name for name in job_of}


def _seen(folder: Path, job: str, queued: dict[str, Queued]) -> Seen:
    try:
        record = read_record(folder)
    except NewerRecordError as e:
        return Seen("finished", str(e))
    if record is not None:
        outcome = outcome_of(record)
        done = outcome.status == 0
        return Seen("finished", outcome.text) if done else Seen("failed", outcome.text, last_lines(folder / LOG))
    where = queued.get(job)
    on = f", job {job} on {where.node}" if where is not None and where.node else ""
    if (held := state(folder)) is State.RUNNING:
        return Seen("running", _progress(folder) + on)
    if where is not None and not where.waits:
        return Seen("running", f"starts, or follows another run{on}")
    if where is not None:
        start = f", expected at {where.start}" if where.start else ""
        return Seen("queued", f"job {job}, {where.reason or where.state}{start}")
    return _ended(folder, job, held)


def _ended(folder: Path, job: str, held: State) -> Seen:
    """A run without a record that nothing trains and no job is for."""
    last = reported(folder.parent, job).get(folder.name, [])[-1:] if job else []
    if last and last[0].status not in (0, 130):
        return Seen("failed", last[0].text, last_lines(folder / LOG))
    if job and not last and not folder.is_dir():
        return Seen("to do", f"its job {job} ended before it began this run")
    if job and not last:
        return Seen(
            "failed", f"its job {job} ended without a report; the same command resumes it", last_lines(folder / LOG)
        )
    if held is State.INTERRUPTED:
        return Seen("stopped", "the same command resumes it")
    return Seen("to do")


def _progress(folder: Path) -> str:
    seen = read_progress(folder)
    if seen is None:
        return "starts, or ends"
    p = seen.progress
    eta = "?" if math.isnan(seen.eta) else str(timedelta(seconds=round(seen.eta)))
    loss = "-" if math.isnan(p.loss) else f"{p.loss:.3f}"
    return f"epoch {p.epoch}/{p.epochs} step {p.step}/{p.steps} loss {loss} ETA {eta}"
