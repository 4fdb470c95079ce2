"""Conditions: what neither a run's recipe nor its hardware says, and its speed, its memory and the last bits of its
numbers depend on. Records hold them, and a plan corrects its hours by runs under the same ones only. No torch.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from scaling.costs.flop_counts import recipe_flops
from scaling.recipe import Recipe

FLOPS_PER_THREAD = 5e8  # of a training step, that make another CPU thread worth its while
SINGLE = "single"  # the strategy of one device alone


class Conditions(NamedTuple):
    """How a run was trained; where it was cut off, in its last sitting."""

    device: str  # kind of what computed: cpu, cuda, mps
    nodes: int  # machines that shared it [1]
    strategy: str  # of several devices: ddp, fsdp; or SINGLE
    precision: str  # what "auto" became: bf16-mixed, 32-true
    scan: str  # road of Adventurer's scan that was taken: torch, mamba-ssm; "": the backbone has no scan
    compile: bool
    recompute: bool
    channels_last: bool
    threads: int  # of a process, for arithmetic [1]
    workers: int  # processes that read and decode [1]
    jobs: int  # runs side by side on the machine [1]


def conditions_of(machine: Mapping[str, Any]) -> Conditions | None:
    """Those of a record's machine, to be compared; None where it does not say, as records before these did not.

    workers are -1 where they are as many as the cores make them, and threads 0 where a GPU did the arithmetic."""
    if not set(Conditions._fields) <= set(machine):
        return None
    found = Conditions(*(machine[name] for name in Conditions._fields))
    if found.device != "cpu":
        found = found._replace(threads=0)
    cores = machine.get("cores")
    usual = isinstance(cores, int) and found.workers == workers_for(cores)
    return found._replace(workers=-1) if usual else found


def strategy_for(asked: str, devices: int) -> str:
    """What a strategy, auto perhaps, comes to on so many devices."""
    if asked != "auto":
        return asked
    return "ddp" if devices > 1 else SINGLE


def workers_for(cores: int) -> int:
    """Reading processes where nobody says: one a core but one, eight at most."""
    return max(1, min(8, cores - 1))


def threads_for(recipe: Recipe, cores: int, jobs: int = 1) -> int:
    """CPU threads for a recipe: one a usable core, shared among jobs, but no more than its steps keep busy.

    Measured on two cores, ms a step with one thread and with two: deit_nano 7.7 and 7.9 at patch 4 (0.3 GFLOPs), 26 and
    18 at patch 2 (1.3), 126 and 83 at patch 1 (7.8)."""
    step = 3 * recipe.batch * recipe_flops(recipe)
    useful = math.ceil(step / FLOPS_PER_THREAD) if step else cores
    return max(1, min(cores // jobs, useful))
