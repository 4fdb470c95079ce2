"""Launcher: where the runs of a sweep are trained. Another one is a class with these methods, entered in LAUNCHERS
(experiments/launch/registry.py).

The folder of a run is what counts: a job calls scaling.engine.train.train, which holds the folder against other
processes, resumes what is in it and leaves the record. So a launcher may start a job twice, or lose one, without harm.
"""

import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from experiments.launch.outcome import Outcome
from experiments.stages import waits_for
from scaling.config.experiment import ExperimentConfig
from scaling.config.runtime import RuntimeConfig
from scaling.runs.events import Event

STOP_SECONDS = 60.0  # that jobs have to save themselves after Ctrl-C
Handle = Hashable  # a launcher's own name of a job


@dataclass(frozen=True)
class Job:
    """One run to be trained, and how it uses the machine."""

    run: ExperimentConfig
    results: Path
    settings: RuntimeConfig


# Called with a job's events, where the launcher sees them: "begin", "elsewhere", and those of training.
Watch = Callable[[Job, Event], None]


class Launcher(Protocol):
    """The state of a run is that of its folder (scaling.runs.run_folder.state), whichever launcher it has."""

    outlives: bool  # whether jobs go on when the sweep ends

    def submit(self, job: Job, after: Sequence[Handle] = ()) -> Handle:
        """Have a job trained once the jobs in `after` have ended; where one of them failed, it ends with that."""

    def outcome(self, handle: Handle) -> Outcome | None:
        """How the job ended; None as long as it waits or runs."""

    def cancel(self, handle: Handle) -> None:
        """Ask the job to stop, with a checkpoint if it is under way. Returns at once."""

    def wait(self, seconds: float) -> None:
        """Return when some job may have ended or reported, after so many seconds at the latest."""


def submit_all(launcher: Launcher, jobs: Iterable[Job]) -> dict[str, Handle]:
    """Submit jobs in order, each after the run that it starts from if that is among them. Returns handles by run_id."""
    by_id, handles = {job.run.run_id: job for job in jobs}, dict[str, Handle]()

    def submit(job: Job) -> Handle:
        run_id, before = job.run.run_id, waits_for(job.run)
        if run_id not in handles:
            after = [submit(by_id[before])] if before in by_id else []
            handles[run_id] = launcher.submit(job, after)
        return handles[run_id]

    for job in by_id.values():
        submit(job)
    return handles


def stop(launcher: Launcher, handles: Sequence[Handle]) -> None:
    """Cancel jobs and wait until they have ended, STOP_SECONDS at most."""
    for handle in handles:
        launcher.cancel(handle)
    end = time.monotonic() + STOP_SECONDS
    while any(launcher.outcome(handle) is None for handle in handles) and time.monotonic() < end:
        launcher.wait(1.0)
