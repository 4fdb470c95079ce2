"""What a job asks of a cluster for one of its runs: the plan's hours and memory with a factor. No torch.

Departs: memory is the host's, and a plan knows that of a processor's runs only; of a GPU's it knows the card's. Jobs on
GPUs get the memory that the cluster gives by default, unless mem is among the options.
"""

import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from experiments.launch.launcher import Job
from experiments.launch.slurm_options import SlurmOptions, parse
from scaling.config.runtime import RuntimeConfig
from scaling.errors import ConfigError

if TYPE_CHECKING:
    from experiments.planning.cost_estimate import Device

START_MINUTES = 5.0  # of a job's time limit, for its start and for reading data [min]
STEP_MINUTES = 10  # to whole multiples of which a time limit is rounded up [min]
PROGRAM = 1.5 * 2**30  # of a process that has imported torch and Lightning, and its data's buffers [bytes]
GIB = 2**30


class Request(NamedTuple):
    """Runs whose jobs ask for the same may be tasks of one array."""

    run_minutes: float  # of one run, the factor included; 0: the options have a time limit
    gib: int  # of memory per node; 0: as the options or the cluster have it
    nodes: int
    tasks_per_node: int
    gpus_per_node: int
    cpus_per_task: int
    warn: int  # [s]
    given: tuple[tuple[str, str], ...]  # further lines of sbatch

    def minutes(self, runs: int) -> int:
        """The time limit of a job of so many runs."""
        return STEP_MINUTES * math.ceil((START_MINUTES + runs * self.run_minutes) / STEP_MINUTES)

    def lines(self, runs: int) -> list[tuple[str, str]]:
        """The lines of sbatch for a job of so many runs; those of the options come last, and count."""
        asked = {
            "time": str(self.minutes(runs)),
            "nodes": str(self.nodes),
            "ntasks-per-node": str(self.tasks_per_node),
            "cpus-per-task": str(self.cpus_per_task),
            **({"gpus-per-node": str(self.gpus_per_node)} if self.gpus_per_node else {}),
            **({"mem": f"{self.gib}G"} if self.gib else {}),
            **dict(self.given),
        }
        return list(asked.items())


def request_of(job: Job, options: SlurmOptions) -> Request:
    """Raises ConfigError where no time is planned and none is given."""
    settings = job.settings
    devices = int(settings.devices)
    minutes, gib = (0.0, 0) if options.line("time") else _planned(job, options)
    return Request(
        run_minutes=minutes,
        gib=0 if options.gpus or options.line("mem") else gib,
        nodes=settings.num_nodes,
        tasks_per_node=devices,
        gpus_per_node=options.gpus,
        cpus_per_task=options.cpus(settings),
        warn=options.warn,
        given=options.lines,
    )


def _planned(job: Job, options: SlurmOptions) -> tuple[float, int]:
    """Minutes of a run and GiB of memory, with the factor."""
    from experiments.planning import cost_estimate

    on = _device(job.settings, job.results)
    one = cost_estimate.forecast(job.run, on)
    if math.isnan(one.hours):
        raise ConfigError(f"{job.run.run_id}: its hours are not known on {on.name}; --slurm time= sets a time limit")
    threads = max(1, cost_estimate.conditions(job.run, on).threads) if on.card.cores else 1
    minutes = options.factor * 60 * one.hours / threads
    memory = int(job.settings.devices) * (PROGRAM + one.least_bytes + one.image_bytes * one.micro_batch_size)
    return _rounded(minutes), math.ceil(options.factor * memory / GIB)


def device_of_job(settings: RuntimeConfig, results: Path) -> "Device":
    """The device that runs are planned for: this machine's, or the card that is named for jobs. Raises ConfigError
    where jobs have GPUs and no card is named."""
    from experiments.planning import cost_estimate

    options = parse(settings.slurm)
    if options.gpus and not options.card:
        raise ConfigError(
            "hours are planned for a GPU that is named, as --slurm card=a100; or set --slurm time=4:00:00"
        )
    return cost_estimate.device_of(settings, results, options.card)


_device = lru_cache(maxsize=1)(device_of_job)  # once for all runs: it reads every record of the results folder


def _rounded(minutes: float) -> float:
    """Up, by a fifth at most, and to half a minute at least: so that runs that are nearly alike share an array."""
    return max(0.5, 2.0 ** (math.ceil(4 * math.log2(minutes)) / 4)) if minutes else 0.5
