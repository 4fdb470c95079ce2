"""Several processes that share a run: which one this is, and what all of them agree on. torch is imported where it is
needed: programs ask `is_first_process` before they load it."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import lightning as L

AGREE_STEPS = 8  # steps between two times that processes ask each other whether to save, to stop or to give up


def is_first_process() -> bool:
    """Whether this process writes and prints: the only one, or that of rank 0, by the environment variables of
    torchrun, SLURM and Lightning."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "NODE_RANK"))


def over_devices(trainer: "L.Trainer", value: float, how: Literal["mean", "sum"]) -> float:
    """The mean or the sum of a value over the devices that share the run, the same on all; all of them have to call."""
    return each_over_devices(trainer, [value], how)[0]


def each_over_devices(trainer: "L.Trainer", values: Sequence[float], how: Literal["mean", "sum"]) -> list[float]:
    """The same of each of several values, as many on every device."""
    if trainer.world_size == 1:
        return list(values)
    import torch

    of_this = torch.tensor(values, dtype=torch.float64, device=trainer.strategy.root_device)
    return trainer.strategy.reduce(of_this, reduce_op=how).tolist()
