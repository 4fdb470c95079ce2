"""Norms of gradients, of each parameter, and clipping to a norm that leaves them behind.

torch's clip_grad_norm_ computes the norm of every parameter's gradient and returns the norm of all alone. Here both are
kept, so that instruments read norms by group for nothing. P parameters that have a gradient.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


class GradientNorms(NamedTuple):
    """Of one step, before clipping."""

    parameters: list[nn.Parameter]
    norm_P: Tensor  # of each one's gradient; sharded where the gradients are


@torch.no_grad()
def gradient_norms(parameters: Iterable[nn.Parameter]) -> GradientNorms | None:
    """Norms of the gradients; None where no parameter has one."""
    held = [(p, p.grad) for p in parameters if p.grad is not None]
    if not held:
        return None
    gradients = [gradient for _, gradient in held]
    sharded = any(isinstance(gradient, DTensor) for gradient in gradients)
    norms = [torch.linalg.vector_norm(g) for g in gradients] if sharded else torch._foreach_norm(gradients)
    return GradientNorms([p for p, _ in held], torch.stack(list(norms)))


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> GradientNorms | None:
    """Scale gradients whose norm exceeds max_norm to it, bit for bit as torch's clip_grad_norm_ does; returns their
    norms before that."""
    norms = gradient_norms(parameters)
    if norms is not None:
        total = torch.linalg.vector_norm(norms.norm_P)
        torch.nn.utils.clip_grads_with_norm_(norms.parameters, max_norm, total)
    return norms
