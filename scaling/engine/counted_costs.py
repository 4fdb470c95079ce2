"""Parameters, FLOPs and memory of a model without a cost model, counted by torch on the meta device, which takes no
memory and no arithmetic. For plans: a run counts its FLOPs itself (counted_flops.py).

Memory is what the forward pass saves for the backward pass, in float32.
"""

from typing import NamedTuple

import torch

from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.engine.counted_flops import flops_of
from scaling.engine.train import TASKS
from scaling.tasks.base import TaskModule


class CountedCosts(NamedTuple):
    """Of a model at its own patch and image size."""

    parameters: int  # that are trained
    flops: int  # forward pass of one image, 2 per multiply-add
    kept: int  # saved of one image for the backward pass, in float32 [bytes]


def counted_costs(config: ExperimentConfig) -> CountedCosts | None:
    """None where the model cannot be run without real numbers. Raises ConfigError where it cannot be built."""
    plain = edit(config, init="scratch", stage=None, objectives="supervised")
    with torch.device("meta"):
        task = TASKS[config.task.kind](plain, 1)
    side, parameters = config.model.img_size, sum(p.numel() for p in task.parameters() if p.requires_grad)
    try:
        flops = flops_of(task, torch.zeros(1, 3, side, side, dtype=torch.uint8, device="meta"))
        kept = _saved_bytes(task, side, 2) - _saved_bytes(task, side, 1)
    except Exception:  # whatever an operation raises that meets no numbers
        return None
    return CountedCosts(parameters, flops, kept)


def _saved_bytes(task: TaskModule, side: int, images: int) -> int:
    """Bytes of the tensors that a forward pass saves, each storage once, without the weights."""
    weights = {p.untyped_storage()._cdata for p in task.parameters()}
    saved: dict[int, torch.UntypedStorage] = {}  # kept alive, so that no two have one address

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            saved[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        task(torch.zeros(images, 3, side, side, dtype=torch.uint8, device="meta"))
    return sum(storage.nbytes() for storage in saved.values())
