"""AdamW's parameter groups and the learning rate: linear warm-up, then cosine to zero.

Source: the training recipes of arXiv 2502.03738, Table 8, and of DeiT (arXiv 2012.12877).
"""

import math

from torch import nn

NO_DECAY = {"pos_embed", "cls_token", "A_log", "D", "dt_bias"}  # by the last part of the name; and all vectors


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict]:
    """Two groups: matrices and convolutions with weight decay; biases, norms, positions, tokens, A, D, dt without."""
    decay: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        plain = parameter.ndim <= 1 or name.rsplit(".", 1)[-1] in NO_DECAY
        (rest if plain else decay).append(parameter)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def lr_factor(step: int, warmup_steps: float, total_steps: int) -> float:
    """Share of the peak learning rate at a step (0-based): rises to 1 over warmup_steps, then half a cosine to 0."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    done = (step - warmup_steps) / max(1.0, total_steps - warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
