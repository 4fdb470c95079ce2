"""FLOPs of a model that the cost model does not know, as torch counts them: before it is trained, so that a model which
cannot be counted costs no run."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def counted_flops(task: Any) -> int:
    """Of a forward pass of one image [FLOPs], a multiplication and an addition two; 0 where they cannot be counted.

    A copy without numbers (on the meta device) is counted, which takes no time and no memory; the task itself, weights
    and mode as they were, where an operation in it needs numbers. Attention is counted as products, as its definition
    has it: torch 2.11's counter takes the CPU's fused kernel for nothing.
    """
    for model in (_without_numbers, lambda task: task):
        try:
            return _count(model(task), task.recipe.image)
        except Exception:
            continue
    return 0


def _without_numbers(task: Any) -> Any:
    """The same task anew, on the meta device and from no weights."""
    with torch.device("meta"):
        return type(task)(replace(task.recipe, weights="", start="", stage=""), task.total_steps)


def _count(task: Any, side: int) -> int:
    device = next(task.parameters()).device
    image_BCHW = torch.zeros(1, 3, side, side, dtype=torch.uint8, device=device)
    with _still(task), torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        task(image_BCHW)
    return counter.get_total_flops()


@contextlib.contextmanager
def _still(model: nn.Module) -> Iterator[None]:
    """Inside, nothing in the model learns: no statistics, and no gradients: the counter hooks itself into them, and
    stumbles where a parameter is a module's input (as in attention pooling)."""
    modes = {module: module.training for module in model.modules()}
    learning = [p for p in model.parameters() if p.requires_grad]
    try:
        model.eval()
        for p in learning:
            p.requires_grad_(False)
        yield
    finally:
        for p in learning:
            p.requires_grad_(True)
        for module, training in modes.items():
            module.training = training
