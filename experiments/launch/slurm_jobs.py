"""RESULTS/slurm: the jobs that were submitted for the runs of a results folder, and what their tasks have reported.

    JOB.json            the jobs of one submission: {"12_0": ["run_id", …], …}
    JOB_TASK.outcomes   a line of JSON for each run that a job has dealt with; the last one of a run counts
    *_log.out, *.pkl    of submitit
SLURM knows which jobs wait or run (slurm_queue.py), records which runs are finished. No torch.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from experiments.launch import slurm_queue
from experiments.launch.outcome import Outcome
from scaling.config.experiment import ExperimentConfig
from scaling.errors import ConfigError, first_of
from scaling.runs.atomic_files import write_atomically

FOLDER = "slurm"
LOCK = ".submitting"
LOCK_SECONDS = 5.0  # that another submission may take


def jobs_folder(results: Path) -> Path:
    return results / FOLDER


@contextmanager
def submitting(results: Path) -> Iterator[None]:
    """Hold the folder of jobs: of two that look at the queue and submit at once, each run would have two jobs. Raises
    ConfigError where another process holds it."""
    folder = jobs_folder(results)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout as e:
        raise ConfigError(
            f"another sweep is submitting jobs for {results} right now; once it has, the same command joins it"
        ) from e
    except OSError as e:
        raise ConfigError(f"results folder {results} cannot be written ({e.strerror}); name another: --results") from e
    try:
        yield
    finally:
        lock.release()


def write_jobs(results: Path, jobs: Mapping[str, Sequence[str]]) -> None:
    """Note the jobs of one submission and the run_ids of each."""
    first = next(iter(jobs)).partition("_")[0]
    write_atomically(jobs_folder(results) / f"{first}.json", json.dumps(jobs) + "\n")


def read_jobs(results: Path) -> dict[str, list[str]]:
    """All jobs that were submitted for a results folder, oldest first, with the run_ids of each."""
    found: dict[str, list[str]] = {}
    paths = (path for path in jobs_folder(results).glob("*.json") if path.stem.isdecimal())
    for path in sorted(paths, key=lambda path: int(path.stem)):
        with suppress(OSError, ValueError):
            found |= json.loads(path.read_text())
    return found


def check_not_queued(runs: Iterable[ExperimentConfig], results: Path) -> None:
    """Raise ConfigError where jobs of SLURM wait or run for some of the runs: two launchers would do the same."""
    jobs = read_jobs(results)
    if not jobs:
        return
    try:
        queued = slurm_queue.queue()
    except ConfigError:  # no SLURM here, or a silent one: locks keep runs from being trained twice
        return
    ours = {run.run_id for run in runs}
    found = [job for job, its in jobs.items() if job in queued and ours.intersection(its)]
    if found:
        raise ConfigError(
            f"{len(found)} of SLURM's jobs are for these runs ({first_of(found)}): --launcher slurm joins them, "
            "--status shows them, --cancel ends them"
        )


def report_outcome(results: Path, job: str, run_id: str, outcome: Outcome) -> None:
    """Append the outcome of a run to its job's file; a line is written whole."""
    line = json.dumps({"run_id": run_id, "status": outcome.status, "text": outcome.text}) + "\n"
    handle = os.open(jobs_folder(results) / f"{job}.outcomes", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def reported(results: Path, job: str) -> dict[str, list[Outcome]]:
    """What a job has reported of each of its runs, oldest first; of a run that was resumed several times."""
    found: dict[str, list[Outcome]] = {}
    try:
        lines = (jobs_folder(results) / f"{job}.outcomes").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):
            one = json.loads(line)
            found.setdefault(one["run_id"], []).append(Outcome(int(one["status"]), str(one["text"])))
    return found
