"""A job of SLURM at work: its runs, one after the other in one process, or in one of those that share a run.

SIGUSR1, which SLURM sends before the time limit, stops a run with a checkpoint, and the job asks to be started again;
at SIGTERM (preemption, scancel) it stops likewise, and SLURM decides whether it starts again.
"""

import gc
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from experiments.launch.outcome import Outcome
from experiments.launch.slurm_jobs import report_outcome, reported
from experiments.launch.slurm_queue import requeue
from experiments.launch.worker import STOPPED, output_into, run_quietly
from scaling.config.experiment import ExperimentConfig
from scaling.config.plugin_files import load_for_job
from scaling.config.runtime import RuntimeConfig
from scaling.engine.distributed import is_first_process
from scaling.errors import ConfigError, TrainingInterrupted
from scaling.runs.events import Event
from scaling.runs.identity import training_folder
from scaling.runs.record import LOG

LIMIT = "SIGUSR1"  # the signal that comes before the time limit
FRUITLESS = 3  # starts without a step after which a job is not started again
SETTLE_SECONDS = 2.0  # within which a signal has reached all processes of a job


def run_task(configs: list[dict[str, object]], results: str, settings: RuntimeConfig) -> None:
    """Entry of a job. Exits with status 1 where a run failed."""
    for name in ("SIGTERM", LIMIT):
        signal.signal(getattr(signal, name), _interrupt)
    signal.signal(signal.SIGCONT, signal.SIG_DFL)  # submitit would write a line for each
    task = _Task(Path(results), settings)
    try:
        for config in configs:
            load_for_job(config)
    except ConfigError as e:
        sys.exit(f"error: {e}")
    left = [ExperimentConfig.from_dict(config) for config in configs]
    try:
        # Runs that another process trains are waited for when all else is done.
        held = [run for run in left if task.train(run).elsewhere]
        for run in held:
            task.train(run, wait=True)
    except TrainingInterrupted as e:
        task.stop(str(e))
    sys.exit(1 if task.failed else 0)


class _Task:
    def __init__(self, results: Path, settings: RuntimeConfig) -> None:
        self.results, self.settings, self.failed = results, settings, False
        self.run_id, self.step, self.advanced = "", 0, False

    def train(self, run: ExperimentConfig, wait: bool = False) -> Outcome:
        """Raises TrainingInterrupted with the name of the signal."""
        self.run_id, self.step = run.run_id, 0
        before: list[int] = []  # the step that training began at

        def watch(event: Event) -> None:
            if event.kind == "open":
                output_into(training_folder(run, self.results) / LOG)
            if event.kind in ("train", "evaluate"):
                self.step = event.progress.step
                before[:] = before or [self.step]
                self.advanced = self.advanced or self.step > before[0] or event.kind == "evaluate"

        own = [os.dup(handle) for handle in (1, 2)]
        try:
            outcome = run_quietly(run, self.results, self.settings, watch, wait)
        finally:
            for handle, saved in enumerate(own, 1):  # what follows is no matter of that run
                os.dup2(saved, handle)
                os.close(saved)
        if outcome.status == 130:
            raise TrainingInterrupted(outcome.signal or "SIGTERM")
        if not outcome.elsewhere and is_first_process():
            report_outcome(self.results, job_id(), run.run_id, outcome)
        self.failed = self.failed or outcome.status != 0
        self.advanced = self.advanced or not (outcome.found or outcome.elsewhere)
        self._clear()
        return outcome

    def _clear(self) -> None:
        """What a run leaves in the process that the next one would pay for."""
        gc.collect()
        if self.settings.compile:  # at most eight models are compiled by one process otherwise
            import torch

            torch._dynamo.reset()

    def stop(self, by: str) -> NoReturn:
        """End the job; at its time limit have it started again, unless it does not get anywhere."""
        if by not in signal.Signals.__members__:  # another process of this run was asked to, and so is this one
            by = _next_signal()
        if not is_first_process():
            sys.exit(0)
        outcome = Outcome(130, f"{STOPPED}; at step {self.step}, by {by}")
        earlier = [one.text for one in reported(self.results, job_id()).get(self.run_id, [])[1 - FRUITLESS :]]
        if by == LIMIT and not self.advanced and earlier == [outcome.text] * (FRUITLESS - 1):
            text = f"no step within the time limit, in {FRUITLESS} starts: --slurm time= sets a longer one"
            report_outcome(self.results, job_id(), self.run_id, Outcome(1, text))
            sys.exit(1)
        report_outcome(self.results, job_id(), self.run_id, outcome)
        if by == LIMIT:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # with it SLURM ends what it starts again
            try:
                requeue(job_id())
            except ConfigError as e:
                text = f"its time limit came and it could not be started again ({e}); the same command resumes it"
                report_outcome(self.results, job_id(), self.run_id, Outcome(1, text))
                sys.exit(1)
        sys.exit(0)


def job_id() -> str:
    """The ID of this job as squeue has it: "12", of an array "12_3"."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}") for name in ("JOB_ID", "TASK_ID"))
    return f"{array}_{task}" if array and task else os.environ["SLURM_JOB_ID"]


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise TrainingInterrupted(signal.Signals(number).name)


def _next_signal() -> str:
    try:
        time.sleep(SETTLE_SECONDS)
    except TrainingInterrupted as e:
        return str(e)
    return "SIGTERM"
