"""The launcher of one machine: so many runs at a time, each in a process of its own, so that what kills one leaves the
others and the sweep alive."""

import math
import multiprocessing
import multiprocessing.connection
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import cast

from experiments.launch.launcher import STOP_SECONDS, Handle, Job, Watch
from experiments.launch.outcome import Outcome, recorded
from experiments.launch.worker import child_main
from scaling.config.runtime import RuntimeConfig
from scaling.costs.hardware import usable_cores
from scaling.errors import ConfigError
from scaling.runs.events import Event
from scaling.runs.identity import folder_of

LOOK_SECONDS = 30.0  # between two looks for runs that another process has finished


@dataclass(eq=False)
class LocalJob:
    """A job of the pool: its handle."""

    job: Job
    after: "tuple[LocalJob, ...]"
    last: bool = False  # another process is training the run: waited for, when all else has begun
    cancelled: bool = False
    outcome: Outcome | None = None
    process: BaseProcess = field(init=False, repr=False)  # of a job that was begun
    began: float = 0.0

    def blocked(self) -> bool:
        return any(before.outcome is None for before in self.after)

    def orphaned(self) -> Outcome | None:
        """The outcome of a job that another one which failed was to come before."""
        for before in self.after:
            if before.outcome is not None and before.outcome.status != 0:
                return Outcome(1, f"not begun: its earlier stage, {before.job.run.run_id}, failed", found=True)
        return None


class LocalPool:
    """A Launcher. parallel: jobs at a time."""

    outlives = False

    def __init__(self, parallel: int, watch: Watch) -> None:
        self.parallel, self.watch = parallel, watch
        self._waiting: list[LocalJob] = []
        self._active: dict[Connection, LocalJob] = {}
        self._looked = -math.inf  # when

    def submit(self, job: Job, after: Sequence[Handle] = ()) -> LocalJob:
        handle = LocalJob(job, tuple(map(_job, after)))
        self._waiting.append(handle)
        return handle

    def outcome(self, handle: Handle) -> Outcome | None:
        return _job(handle).outcome

    def cancel(self, handle: Handle) -> None:
        job = _job(handle)
        job.cancelled = True
        if job in self._waiting:
            self._waiting.remove(job)
            job.outcome = Outcome(130, "not begun", found=True)
        elif job.outcome is None:  # a second Ctrl-C to a process that had the first too does no harm
            job.process.terminate()

    def wait(self, seconds: float) -> None:
        if time.monotonic() >= self._looked + LOOK_SECONDS and self._take_recorded():
            return
        while len(self._active) < self.parallel and (job := self._ready()):
            self._waiting.remove(job)
            job.outcome = recorded(folder_of(job.job.run, job.job.results)) or job.orphaned()
            if job.outcome is not None:
                return
            self.watch(job.job, Event("begin"))
            self._start(job)
        if not self._active:
            return
        heard = multiprocessing.connection.wait(list(self._active), seconds)
        for pipe, job in [(pipe, job) for pipe, job in self._active.items() if pipe in heard]:
            self._take(pipe, job)

    def _take_recorded(self) -> bool:
        """End the waiting jobs that have records, by other processes on the same results folder, so that they are
        counted before their turn; whether there was one. Renamed folders are found at their turn."""
        self._looked = time.monotonic()
        for job in self._waiting:
            job.outcome = recorded(job.job.results / job.job.run.run_id)
        before = len(self._waiting)
        self._waiting = [job for job in self._waiting if job.outcome is None]
        return len(self._waiting) < before

    def _ready(self) -> LocalJob | None:
        return next((job for job in self._waiting if not job.blocked()), None)

    def _start(self, job: LocalJob) -> None:
        ours, theirs = self._context.Pipe(duplex=False)
        arguments = (job.job.run.to_dict(), str(job.job.results), job.job.settings, job.last, theirs)
        job.process, job.began = self._context.Process(target=child_main, args=arguments), time.monotonic()
        job.process.start()
        theirs.close()
        self._active[ours] = job

    def _take(self, pipe: Connection, job: LocalJob) -> None:
        """Take the next item from a job's pipe: an event or the outcome."""
        item = _receive(pipe, job)
        if not isinstance(item, Outcome):
            self.watch(job.job, item)
            return
        del self._active[pipe]
        job.process.join(STOP_SECONDS)
        if item.elsewhere and not job.cancelled:
            job.last = True
            self._waiting.append(job)
            self.watch(job.job, Event("elsewhere", text=item.text))
        else:
            job.outcome = item._replace(seconds=time.monotonic() - job.began)

    @cached_property
    def _context(self) -> SpawnContext | ForkServerContext:
        """Processes that start from one in which torch, lightning and timm are imported already, to save seconds."""
        if "forkserver" not in multiprocessing.get_all_start_methods():
            return multiprocessing.get_context("spawn")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["scaling.engine.train"])
        return context


def _job(handle: Handle) -> LocalJob:
    return cast(LocalJob, handle)  # a launcher is given only handles that it made


def _receive(pipe: Connection, job: LocalJob) -> Event | Outcome:
    """The next item; an outcome where the process died without one: killed, out of memory, a compiled crash."""
    try:
        return pipe.recv()
    except EOFError:
        job.process.join()
        return Outcome(1, _death(job.process.exitcode))


def _death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{hint}; the same command resumes it"
    return f"its process ended with status {exit_code} and without a message; the same command resumes it"


def parallel_runs(asked: int, accelerator: str) -> int:
    """Runs at a time; asked: 0 for the default. On a CPU two runs of one thread each get through a sweep faster than
    one of two threads, where this process may use two cores. A GPU takes one run, whose speed and memory are then its
    own. Raises ConfigError."""
    if asked < 0:
        raise ConfigError(f"jobs {asked} must be 0 or more")
    cpu = accelerator == "cpu" or (accelerator == "auto" and sys.platform == "linux" and not _has_gpu())
    return asked or (2 if cpu and usable_cores() > 1 else 1)


def with_parallel_runs(settings: RuntimeConfig, accelerator: str = "") -> RuntimeConfig:
    """The settings with a number of runs at a time, where none is set. accelerator: of another machine."""
    chosen = parallel_runs(settings.max_parallel_runs or 0, accelerator or settings.accelerator)
    return replace(settings, max_parallel_runs=chosen)


def _has_gpu() -> bool:
    """By the devices of NVIDIA's and AMD's drivers: asking torch would cost its import."""
    return any(Path(device).exists() for device in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd"))
