"""AdamW's parameter groups and the learning rate: linear warm-up, then cosine to zero.

Source: the training recipes of arXiv 2502.03738, Table 8, and of DeiT (arXiv 2012.12877).
"""

import math

from torch import nn

from scaling.recipe import Recipe

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


def warmup_steps(recipe: Recipe, total_steps: int) -> float:
    """Steps of linear warm-up in a run of total_steps; a part of one is allowed."""
    return recipe.warmup_epochs * total_steps / recipe.epochs


def lr_factor(step: int, warmup: float, total_steps: int) -> float:
    """Share of the peak learning rate at a step (0-based): rises to 1 over warmup steps, then half a cosine to 0."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1.0, total_steps - warmup)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
