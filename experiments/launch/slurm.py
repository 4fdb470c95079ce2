"""The launcher of a SLURM cluster, by submitit: runs become jobs, which outlive the sweep that submitted them.

Runs that ask for the same are tasks of one array; a stage waits for the job of the one before it. A run that has a job
already is not given another.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from experiments.launch import slurm_queue
from experiments.launch.launcher import Handle, Job, Watch
from experiments.launch.outcome import Outcome, recorded
from experiments.launch.progress_file import read_progress
from experiments.launch.sbatch import submit_tasks
from experiments.launch.slurm_jobs import jobs_folder, read_jobs, reported, submitting, write_jobs
from experiments.launch.slurm_options import parse
from experiments.launch.slurm_request import Request, request_of
from scaling.runs.events import Event
from scaling.runs.identity import folder_of, training_folder

ASK_SECONDS = (2.0, 30.0)  # between two looks at the queue: at first, and in the long run
UNSEEN = 2  # looks at the queue without a job after which it has ended
LARGEST_ARRAY = 1000  # tasks; SLURM's own default of MaxArraySize is 1001


@dataclass(eq=False)
class SlurmJob:
    """A run that was handed over: its handle. id: of its job once it has one."""

    job: Job
    after: "tuple[SlurmJob, ...]"
    folder: Path
    id: str = ""
    outcome: Outcome | None = None
    begun: bool = False
    unseen: int = 0  # looks at the queue, since the last that had the job
    seen_age: float = field(default=float("inf"), repr=False)  # of the progress that was shown last [s]

    @property
    def run_id(self) -> str:
        return self.job.run.run_id


class SlurmPool:
    """A Launcher. parallel: tasks of an array at a time; 0: as many as the cluster takes."""

    outlives = True

    def __init__(self, parallel: int, watch: Watch) -> None:
        self.parallel, self.watch = parallel, watch
        self._waiting: list[SlurmJob] = []
        self._submitted: list[SlurmJob] = []
        self._began = self._asked = time.monotonic()
        self._silent = False

    def submit(self, job: Job, after: Sequence[Handle] = ()) -> SlurmJob:
        handle = SlurmJob(job, tuple(map(_job, after)), training_folder(job.run, job.results))
        handle.outcome = recorded(folder_of(job.run, job.results))
        if handle.outcome is None:
            self._waiting.append(handle)
        return handle

    def outcome(self, handle: Handle) -> Outcome | None:
        return _job(handle).outcome

    def cancel(self, handle: Handle) -> None:
        one = _job(handle)
        if one.id and one.outcome is None:
            slurm_queue.cancel([one.id])

    def wait(self, seconds: float) -> None:
        if self._waiting:
            self._submit_all()
            return
        time.sleep(seconds)
        now = time.monotonic()
        first, last = ASK_SECONDS
        if now - self._asked > min(last, max(first, (now - self._began) / 20)):
            self._look()
            self._asked = time.monotonic()

    def _submit_all(self) -> None:
        """Submit what waits, level by level: a job has to have its ID before another can wait for it."""
        waiting, self._waiting = self._waiting, []
        asked = {one: request_of(one.job, parse(one.job.settings.slurm)) for one in waiting}
        for request in dict.fromkeys(asked.values()):
            slurm_queue.check_lines(request.lines(1))  # while nothing has been written
        results = waiting[0].job.results
        with submitting(results):
            queued = slurm_queue.queue()
            there = {run_id: job for job, runs in read_jobs(results).items() if job in queued for run_id in runs}
            for one in waiting:
                one.id = there.get(one.run_id, "")
            self._submitted = list(waiting)
            left = [one for one in waiting if not one.id]
            while left:
                ready = [one for one in left if all(before.id or before.outcome for before in one.after)]
                left = [one for one in left if one not in ready]
                for one in ready:
                    one.outcome = _orphaned(one)
                self._submit_level(results, {one: asked[one] for one in ready if one.outcome is None})

    def _submit_level(self, results: Path, ready: dict[SlurmJob, Request]) -> None:
        alike: dict[tuple[Request, tuple[str, ...]], list[SlurmJob]] = {}
        for one, request in ready.items():
            after = tuple(sorted({before.id for before in one.after if before.outcome is None}))
            alike.setdefault((request, after), []).append(one)
        for (request, after), its in alike.items():
            settings = its[0].job.settings
            size = parse(settings.slurm).runs
            tasks = [its[i : i + size] for i in range(0, len(its), size)]
            for i in range(0, len(tasks), LARGEST_ARRAY):
                part = tasks[i : i + LARGEST_ARRAY]
                configs = [[one.job.run.to_dict() for one in task] for task in part]
                own = replace(settings, max_parallel_runs=1, slurm="")
                ids = submit_tasks(jobs_folder(results), configs, results, own, request, after, self.parallel)
                for job, task in zip(ids, part, strict=True):
                    for one in task:
                        one.id = job
                write_jobs(results, {job: [one.run_id for one in task] for job, task in zip(ids, part, strict=True)})

    def _look(self) -> None:
        """See which jobs have ended or begun, by their folders and by SLURM."""
        try:
            queued = slurm_queue.queue()
        except slurm_queue.SlurmSilentError as e:
            if not self._silent and self._submitted:
                self.watch(self._submitted[0].job, Event("note", text=f"{e}; jobs continue meanwhile"))
            self._silent, queued = True, None
        else:
            self._silent = False
        for one in self._submitted:
            if one.outcome is None:
                self._see(one, queued)

    def _see(self, one: SlurmJob, queued: dict[str, slurm_queue.Queued] | None) -> None:
        where = queued.get(one.id) if queued is not None else None
        _refresh(one.folder)
        one.outcome = recorded(one.folder)
        if one.outcome is not None:
            one.outcome = one.outcome._replace(found=False)
            return
        if where is not None:
            one.unseen = 0
            if not where.waits:
                self._show(one)
        elif queued is not None:
            one.unseen += 1
            last = reported(one.job.results, one.id).get(one.run_id, [])[-1:]
            if last and last[0].status in (1, 2):
                one.outcome = last[0]
            elif one.unseen >= UNSEEN:
                one.outcome = _orphaned(one) or _lost(one)

    def _show(self, one: SlurmJob) -> None:
        """Show how far a run is."""
        seen = read_progress(one.folder)
        if not one.begun and one.folder.is_dir():
            one.begun = True
            self.watch(one.job, Event("begin"))
        if one.begun and seen is not None and seen.age < one.seen_age:
            self.watch(one.job, Event("train", seen.progress._replace(eta=seen.eta)))
        one.seen_age = seen.age if seen is not None else one.seen_age


def _job(handle: Handle) -> SlurmJob:
    return cast(SlurmJob, handle)  # a launcher is given only handles that it made


def _refresh(folder: Path) -> None:
    """Read the folder's names afresh: NFS may know nothing of new ones for a minute otherwise."""
    try:
        list(folder.iterdir())
    except OSError:
        return


def _orphaned(one: SlurmJob) -> Outcome | None:
    """The outcome of a job that another one which failed was to come before."""
    for before in one.after:
        if before.outcome is not None and before.outcome.status != 0:
            return Outcome(1, f"not begun: its earlier stage, {before.run_id}, failed")
    return None


def _lost(one: SlurmJob) -> Outcome:
    """The outcome of a job that ended without a word."""
    folder, how = jobs_folder(one.job.results), slurm_queue.ending(one.id)
    ended = f"its job {one.id} ended ({how or 'it was cancelled before it began, or SLURM has forgotten it'})"
    silent = not any(folder.glob(f"{one.id}_*_log.*")) and not one.folder.is_dir()
    if silent and how and not how.startswith("CANCELLED"):
        return Outcome(2, f"{ended} and wrote nothing into {one.job.results}: can the compute nodes see this folder?")
    return Outcome(1, f"{ended} without a record; the same command resumes it")
