"""FLOPs of a model that the cost model does not know, counted by torch; before training, so that a failure costs no
run."""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from scaling.config.edit import edit
from scaling.costs.token_counts import tokens_follow_images
from scaling.tasks.base import TaskModule


def counted_flops(task: TaskModule) -> int:
    """FLOPs of a forward pass of one image, 2 per multiply-add; 0 where they cannot be counted, or depend on the image.

    A copy on the meta device is counted, which takes no time and no memory; where an operation needs real numbers, the
    task itself, whose weights and mode stay as they were. Attention is counted as matrix products, because torch 2.11's
    counter does not count the CPU's fused kernel.
    """
    if tokens_follow_images(task.config):
        return 0
    models: tuple[Callable[[TaskModule], TaskModule], ...] = (_without_numbers, lambda task: task)
    for model in models:
        try:
            return _count(model(task), task.config.model.img_size)
        except Exception:
            continue
    return 0


def _without_numbers(task: TaskModule) -> TaskModule:
    """The same task on the meta device, without initial weights from elsewhere."""
    with torch.device("meta"):
        return type(task)(edit(task.config, init="scratch", stage=None, objectives="supervised"), task.total_steps)


def _count(task: TaskModule, side: int) -> int:
    device = next(task.parameters()).device
    return flops_of(task, torch.zeros(1, 3, side, side, dtype=torch.uint8, device=device))


def flops_of(model: nn.Module, image_BCHW: Tensor) -> int:
    """FLOPs of a model's forward pass, whose weights and mode stay as they were."""
    with _still(model), torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(image_BCHW)
    return counter.get_total_flops()


@contextlib.contextmanager
def _still(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients inside: the counter hooks into gradients, and fails where a parameter is a
    module's input (as in attention pooling)."""
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
