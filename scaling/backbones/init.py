"""Initial weights that depend on a seed and on the names of modules alone."""

from collections.abc import Callable

import torch
from torch import nn

from scaling.rng import seed_of, seeded


@torch.no_grad()
def initialise_by_name(model: nn.Module, seed: int, rule: Callable[[nn.Module, str], None]) -> None:
    """Call rule(module, name) for every module, with random numbers that depend on seed and name alone.

    So a module draws the same weights whatever precedes it in the model: the blocks of a patch-1 and of a patch-16
    model start equal.
    """
    for name, module in model.named_modules():
        with seeded(seed_of(seed, "module", name)):
            rule(module, name)
