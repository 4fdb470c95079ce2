"""Evaluation of sharded weights: each forward pass gathers weights from all devices, so all make as many passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import distributed

if TYPE_CHECKING:
    from scaling.tasks.base import TaskModule


def keep_in_step(task: TaskModule, passes: int) -> None:
    """Before a device makes `passes` forward passes, perhaps none, in an evaluation: make up for those by which another
    device makes more, with blank images that are counted nowhere. The number of passes of a batch depends on its
    windows, its sizes, and on images that cannot be read. Does nothing where the task's weights are not sharded."""
    if not task.sharded:
        return
    most = torch.tensor(passes, device=task.device)
    distributed.all_reduce(most, distributed.ReduceOp.MAX)
    side = task.config.model.img_size
    for _ in range(int(most) - passes):
        task(torch.zeros(1, 3, side, side, dtype=torch.uint8, device=task.device))
