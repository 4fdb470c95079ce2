"""Initial weights that depend on a seed and on the names of modules alone."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, torch's CPU generator starts from seed; afterwards it is as it was before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@torch.no_grad()
def initialise_by_name(model: nn.Module, seed: int, rule: Callable[[nn.Module, str], None]) -> None:
    """Call rule(module, name) for every module, with random numbers that depend on seed and name alone.

    So a module draws the same weights whatever precedes it in the model: the blocks of a patch-1 and of a patch-16
    model start equal.
    """
    for name, module in model.named_modules():
        with seeded(zlib.crc32(f"{seed}/{name}".encode())):
            rule(module, name)
