"""A sweep at work: its runs are handed to a launcher, and shown until all of them have ended."""

import math
from pathlib import Path

from experiments.launch.eta import Clock
from experiments.launch.launcher import Job, Launcher, stop, submit_all
from experiments.launch.outcome import Outcome
from experiments.launch.progress_display import Console
from experiments.launch.registry import LAUNCHERS
from scaling.config.experiment import ExperimentConfig
from scaling.config.runtime import RuntimeConfig
from scaling.engine.loggers import logged_nothing, names_of
from scaling.errors import ConfigError
from scaling.runs.events import Event
from scaling.runs.identity import looked_through_once

POLL_SECONDS = 1.0  # between two polls of jobs, where their launcher does not report their ends


def train_all(
    runs: list[ExperimentConfig],
    results: Path,
    settings: RuntimeConfig,
    console: Console,
    expected: dict[str, float],
    launcher: str,
) -> dict[str, Outcome]:
    """Submit all runs to a launcher and show how they go. Returns outcomes by run_id. expected: the training time of
    each by run_id [s].

    Raises ConfigError where the first run cannot begin: then nothing has been written.
    """
    at_once = settings.max_parallel_runs or 1
    clock = Clock({run_id: seconds / at_once for run_id, seconds in expected.items()})
    outcomes: dict[str, Outcome] = {}

    def watch(job: Job, event: Event) -> None:
        if event.kind == "begin":
            console.sweep(len(outcomes), len(runs), clock.eta([r for r in runs if r.run_id not in outcomes]))
            console.begin(job.run.run_id)
        elif event.kind == "elsewhere":
            console.postpone(job.run.run_id, event.text)
        else:
            console.show(job.run.run_id, event)

    def end(run: ExperimentConfig, outcome: Outcome) -> None:
        if outcome.status == 2 and not outcomes:
            raise ConfigError(outcome.text)
        console.finish(run.run_id, outcome)
        if outcome.found and outcome.status == 0 and names_of(settings.logger):
            console.note(logged_nothing(settings.logger))
        if outcome.status == 0 and not math.isnan(outcome.seconds):
            clock.add(run, outcome.seconds / at_once)
        outcomes[run.run_id] = outcome
        if outcome.status == 130:
            raise KeyboardInterrupt

    pool = LAUNCHERS[launcher](settings.max_parallel_runs or 0, watch)
    with looked_through_once():
        handles = submit_all(pool, [Job(run, results, settings) for run in runs])
    try:
        while len(outcomes) < len(runs):
            pool.wait(POLL_SECONDS)
            for run in runs:
                if run.run_id not in outcomes and (outcome := pool.outcome(handles[run.run_id])) is not None:
                    end(run, outcome)
    except KeyboardInterrupt:
        console.line(at_ctrl_c(pool, results))
        if pool.outlives:  # nothing was stopped
            raise SystemExit(130) from None
        raise
    finally:
        if not pool.outlives:
            stop(pool, [handle for run_id, handle in handles.items() if run_id not in outcomes])
    console.sweep(len(outcomes), len(runs), 0.0)
    return outcomes


def at_ctrl_c(pool: Launcher, results: Path) -> str:
    """What becomes of jobs that have not ended, in a line."""
    if not pool.outlives:
        return "stopping after this step, with a checkpoint"
    command = f"python experiments/sweep.py --results {results} --status"
    return f"the jobs continue without this command; `{command}` shows them, --cancel instead of --status ends them"
