"""What a model with BatchNorm computes with the statistics of its batches, as in training, and with running statistics,
as in evaluation: at several patch sizes.

Only the statistics differ: drop path and augmentation are off in both. D channels.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from scaling.backbones.batch_norm import STATISTICS, TokenBatchNorm, batch_norms
from scaling.comparison.loss_surface import LossSurface, open_surfaces
from scaling.errors import ConfigError
from scaling.runs.finished_run import finished_run


@dataclass(frozen=True)
class BatchStatistics:
    """Of one model at one patch size, over batches of equally many images."""

    patch: int  # [px]
    loss_running: float  # with running statistics [nats]
    loss_batch: float  # with those of each batch [nats]
    mean_shift: float  # of the means over batches from the running ones: root mean square over channels [running sd]
    variance_factor: float  # between the variances over batches and the running ones: exp of the same of log ratios [1]

    @property
    def gap(self) -> float:
        """The loss as in training less the loss as in evaluation [nats]."""
        return self.loss_batch - self.loss_running


def surfaces_of_batches(run: Path, patches: Sequence[int], images: int, batch: int | None) -> list[LossSurface]:
    """As of open_surfaces, with `batch` of the images in each batch; None: as many as a training step has. Raises
    ConfigError."""
    at_a_time = finished_run(run).experiment().optim.global_batch_size if batch is None else batch
    if at_a_time < 1:
        raise ConfigError(f"--batch {at_a_time} is too few: 1 image or more")
    if images % at_a_time:
        whole = max(at_a_time, images - images % at_a_time)
        raise ConfigError(f"--images {images} is no multiple of the {at_a_time} of a batch: --images {whole}")
    return open_surfaces(run, patches, images, largest=at_a_time, tokens=sys.maxsize)


def batch_statistics(surface: LossSurface) -> BatchStatistics:
    """surface: on batches of equally many images. The running statistics are as before afterwards. Raises ConfigError
    for a model without BatchNorm."""
    norms = batch_norms(surface.task)
    if not norms:
        kind = surface.task.config.model.norm
        raise ConfigError(f"the run has norm {kind}, without statistics of batches: train with --norm batch")
    loss_running = surface.loss()
    with _of_each_batch(norms) as seen:
        loss_batch = surface.loss()
    shifts, logs = [], []
    for norm, of_batches in zip(norms, seen, strict=True):
        mean_D, var_D = torch.stack(of_batches).mean(0)
        k = norm.row(surface.patch)
        running_mean_D, running_var_D = (getattr(norm, name)[k].double() for name in STATISTICS)
        shifts.append((mean_D - running_mean_D) / running_var_D.sqrt())
        logs.append((var_D / running_var_D).log())
    shift, factor = (torch.cat(parts).square().mean().sqrt().item() for parts in (shifts, logs))
    return BatchStatistics(surface.patch, loss_running, loss_batch, shift, math.exp(factor))


@contextmanager
def _of_each_batch(norms: list[TokenBatchNorm]) -> Iterator[list[list[Tensor]]]:
    """Inside, the norms use the statistics of what they are given, which are collected: by norm and batch, mean and
    variance (2, D), float64."""
    before = [[getattr(norm, name).clone() for name in STATISTICS] for norm in norms]
    seen: list[list[Tensor]] = [[] for _ in norms]

    def see(number: int, x_BTD: Tensor) -> None:
        x_ND = x_BTD.detach().double().flatten(0, 1)
        seen[number].append(torch.stack([x_ND.mean(0), x_ND.var(0, unbiased=False)]))

    def hook(number: int) -> torch.utils.hooks.RemovableHandle:
        return norms[number].register_forward_pre_hook(lambda _, given: see(number, given[0]))

    hooks = [hook(number) for number in range(len(norms))]
    for norm in norms:
        nn.Module.train(norm)
    try:
        yield seen
    finally:
        for one in hooks:
            one.remove()
        for norm, kept in zip(norms, before, strict=True):
            norm.eval()
            for name, buffer in zip(STATISTICS, kept, strict=True):
                getattr(norm, name).copy_(buffer)
