"""Submission of jobs by submitit (https://github.com/facebookincubator/submitit, MIT licence), which writes their
scripts and pickles what they call. It is imported here alone, when jobs are submitted.

A job of one task is the batch script itself, which becomes Python by exec: as a child of a shell, or of srun, it would
be killed at SIGTERM before it has saved anything. Several tasks are started by srun, as Lightning expects it.
"""

import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from functools import partial
from io import StringIO
from pathlib import Path

from experiments.launch.slurm_queue import last_message
from experiments.launch.slurm_request import Request
from experiments.launch.slurm_task import run_task
from scaling.config.runtime import RuntimeConfig
from scaling.errors import ConfigError, first_line
from scaling.runs.environment import REPOSITORY

NAME = "patch-scaling"  # of jobs in the queue


def submit_tasks(
    folder: Path,
    tasks: Sequence[list[dict[str, object]]],
    results: Path,
    settings: RuntimeConfig,
    request: Request,
    after: Sequence[str],
    parallel: int,
) -> list[str]:
    """Submit jobs that each train some runs; several are an array. Returns the ID of each.

    folder: of scripts and logs. tasks: configurations of the runs of each job. after: jobs that have to succeed first.
    parallel: jobs of the array at a time; 0: no limit. Raises ConfigError where SLURM refuses."""
    try:
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError
    except ImportError as e:
        raise ConfigError(f"--launcher slurm needs submitit ({first_line(e)}); pip install submitit") from e
    alone, runs = request.nodes * request.tasks_per_node == 1, max(map(len, tasks))
    python = shlex.quote(sys.executable)
    executor = submitit.SlurmExecutor(folder.absolute(), python=f"exec {python}" if alone else python)
    lines: dict[str, object] = {name: True if value == "yes" else value for name, value in request.lines(runs)}
    lines |= {"signal": f"{'B:' if alone else ''}USR1@{request.warn}", "requeue": True}
    lines |= {"dependency": f"afterok:{':'.join(after)}", "kill-on-invalid-dep": "yes"} if after else {}
    executor.update_parameters(
        job_name=str(lines.pop("job-name", NAME)),
        use_srun=not alone,
        array_parallelism=parallel or len(tasks),
        setup=[f"export PYTHONPATH={shlex.quote(str(REPOSITORY))}:$PYTHONPATH"],  # this code, whichever is installed
        additional_parameters=lines,
    )
    where = str(results.absolute())
    try:
        with redirect_stderr(StringIO()):  # to which it also prints the message of its error
            jobs = executor.submit_array([partial(run_task, configs, where, settings) for configs in tasks])
    except (FailedJobError, FailedSubmissionError) as e:
        raise ConfigError(f"SLURM refuses the jobs: {last_message(str(e))}") from e
    except OSError as e:
        raise ConfigError(f"jobs cannot be submitted ({e.strerror}: {e.filename})") from e
    return [job.job_id for job in jobs]
