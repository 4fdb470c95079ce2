"""Conditions of a run: what speed, memory and the last bits of its numbers depend on besides recipe and hardware.

Records store them, and a plan calibrates its hours only by runs under the same conditions. No torch.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from scaling.config.experiment import ExperimentConfig
from scaling.costs.run_flops import recipe_step_flops

FLOPS_PER_THREAD = 5e8  # of a training step per CPU thread; with fewer, another thread does not pay
SINGLE = "single"  # the strategy of a single device


class Conditions(NamedTuple):
    """How a run was trained; after a resume, in its last segment. The field names are keys of records, so they stay."""

    device: str  # type: cpu, cuda, mps
    nodes: int  # machines of the run [1]
    strategy: str  # ddp or fsdp for several devices, or SINGLE
    precision: str  # resolved: bf16-mixed or 32-true
    scan: str  # implementation of the scan: torch or mamba-ssm; "": the backbone has none
    compile: bool
    recompute: bool
    channels_last: bool
    threads: int  # per process, for arithmetic [1]
    workers: int  # data-loading processes [1]
    jobs: int  # runs at the same time on the machine [1]


def conditions_of(machine: Mapping[str, object]) -> Conditions | None:
    """Conditions in a form that can be compared. machine: the entry of a record. None: an older record, without them.

    workers becomes -1 where it is the default for the number of cores, and threads 0 where a GPU did the arithmetic."""
    if not set(Conditions._fields) <= set(machine):
        return None
    found = Conditions._make(machine[name] for name in Conditions._fields)
    if found.device != "cpu":
        found = found._replace(threads=0)
    cores = machine.get("cores")
    usual = isinstance(cores, int) and found.workers == workers_for(cores)
    return found._replace(workers=-1) if usual else found


def strategy_for(asked: str, devices: int) -> str:
    """The strategy in use. asked: "auto", or a strategy; devices: of the run [1]."""
    if asked != "auto":
        return asked
    return "ddp" if devices > 1 else SINGLE


def workers_for(cores: int) -> int:
    """Default number of data-loading processes: one per core except one, at most eight."""
    return max(1, min(8, cores - 1))


def threads_for(config: ExperimentConfig, cores: int, max_parallel_runs: int = 1) -> int:
    """CPU threads of a run: one per usable core, divided among parallel runs, but no more than its steps keep busy.

    Measured on two cores, ms per step of deit_nano with one thread and with two: 7.7 and 7.9 at patch 4 (0.3 GFLOPs),
    26 and 18 at patch 2 (1.3), 126 and 83 at patch 1 (7.8)."""
    step = config.optim.global_batch_size * recipe_step_flops(config)
    useful = math.ceil(step / FLOPS_PER_THREAD) if step else cores
    return max(1, min(cores // max_parallel_runs, useful))
