"""AdamW, its parameter groups, and learning-rate schedules: linear warm-up, then decay to min_lr.

Source: the training recipes of arXiv 2502.03738, Table 8, and of DeiT (arXiv 2012.12877).
"""

from __future__ import annotations

import functools
import math
from fnmatch import fnmatch
from typing import TYPE_CHECKING, TypedDict, cast

import torch
from torch import nn

from scaling.config.experiment import ExperimentConfig
from scaling.config.step_shapes import PatchSchedule
from scaling.costs.phases import phases_of

if TYPE_CHECKING:
    from timm.models import VisionTransformer

    from scaling.tasks.base import TaskModule


class Schedule(TypedDict):
    """A learning-rate schedule, as Lightning expects it."""

    scheduler: torch.optim.lr_scheduler.LambdaLR
    interval: str


class Optimisation(TypedDict):
    """An optimiser and its schedule, as Lightning expects them."""

    optimizer: torch.optim.Optimizer
    lr_scheduler: Schedule


def parameter_groups(module: TaskModule, weight_decay: float, lr: float, layer_decay: float = 1.0) -> list[dict]:
    """Groups of AdamW: matrices and convolutions with weight decay; vectors (biases, norms) and what the backbone's
    no_weight_decay() names (positions, class tokens, A, D, dt) without.

    layer_decay: of the learning rate from a layer to the one before it (arXiv 2106.08254). module: a task, with
    `backbone`; the embedding is layer 0, then a layer a block (as timm's group_matcher has them), what is not the
    backbone's comes last and has lr.
    """
    layers = _layers(module) if layer_decay != 1 else {}
    last = max(layers.values(), default=0) + 1
    spared = _spared(module)
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for parameter in module.parameters():
        if parameter.requires_grad:
            plain = parameter.ndim <= 1 or id(parameter) in spared
            groups.setdefault((layers.get(id(parameter), last), plain), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": 0.0 if plain else weight_decay,
            "lr": lr * layer_decay ** (last - layer),
        }
        for (layer, plain), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def _spared(module: TaskModule) -> set[int]:
    """Ids of the parameters that the backbone names as without weight decay; names may be patterns, as timm's."""
    patterns, net = module.backbone.no_weight_decay(), module.backbone.checkpoint_module
    return {id(p) for name, p in net.named_parameters() if any(fnmatch(name, pattern) for pattern in patterns)}


def _layers(module: TaskModule) -> dict[int, int]:
    """The layer of every parameter of the backbone, by the parameter's id."""
    from timm.models import group_parameters

    net = cast("VisionTransformer", module.backbone.checkpoint_module)  # or what has timm's interface
    found = group_parameters(net, net.group_matcher(coarse=False), reverse=True)
    return {id(parameter): found[name] for name, parameter in net.named_parameters()}


def adamw(task: TaskModule, config: ExperimentConfig, total_steps: int) -> Optimisation:
    """The optimiser of a task and its learning-rate schedule over total_steps, as Lightning expects them."""
    lr = config.optim.peak_lr
    groups = parameter_groups(task, config.optim.weight_decay, lr, config.optim.layer_decay)
    optimiser = torch.optim.AdamW(groups, lr=lr, betas=(config.optim.beta1, config.optim.beta2), fused=True)
    # Lightning does not clip gradients in mixed precision if the optimiser unscales them itself. bfloat16 needs no
    # scaling, so nothing is unscaled here.
    optimiser._step_supports_amp_scaling = False  # type: ignore[attr-defined]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: lr_share(config, step, total_steps))
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def lr_share(config: ExperimentConfig, step: int, total_steps: int) -> float:
    """Learning rate of step number `step` (from 0) of a run of total_steps, as a share of the peak."""
    return _scheduled_share(config, step, total_steps) * rewarmed_share(config, step, total_steps)


def rewarmed_share(config: ExperimentConfig, step: int, total_steps: int) -> float:
    """The share of the scheduled learning rate that a step has after a change of a schedule of shapes; 1 in the first
    phase, which has the warm-up of the run."""
    shapes = config.step_shapes
    steps = shapes.rewarm_steps if isinstance(shapes, PatchSchedule) else 0
    begun = max((first for first in _first_steps(config, total_steps) if first <= step), default=0) if steps else 0
    return min(1.0, (step - begun + 1) / (steps + 1)) if begun else 1.0


@functools.lru_cache(maxsize=16)
def _first_steps(config: ExperimentConfig, total_steps: int) -> tuple[int, ...]:
    return tuple(phase.first_step for phase in phases_of(config, total_steps))


def _scheduled_share(config: ExperimentConfig, step: int, total_steps: int) -> float:
    """The learning rate of its schedule alone."""
    warmup = warmup_steps(config, total_steps)
    if config.schedule.lr_schedule.kind == "multistep":
        epoch = step * config.schedule.epochs / max(1, total_steps)
        passed = sum(epoch >= end for end in config.schedule.milestones)
        return min(1.0, (step + 1) / (warmup + 1)) * 0.1**passed
    return lr_factor(
        step, warmup, total_steps, config.schedule.lr_schedule.kind, config.schedule.min_lr / config.optim.peak_lr
    )


def warmup_steps(config: ExperimentConfig, total_steps: int) -> float:
    """Steps of linear warm-up in a run of total_steps; may be fractional."""
    if config.schedule.max_steps or config.schedule.warmup_steps or not total_steps:
        return config.schedule.warmup_steps or 0
    return config.schedule.warmup_epochs * total_steps / config.schedule.epochs


def lr_factor(step: int, warmup: float, total_steps: int, schedule: str = "cosine", least: float = 0.0) -> float:
    """Learning rate at a step (from 0) as a share of the peak: rises to 1 over warmup steps, then falls to `least` by
    half a cosine, or linearly (linear: mmsegmentation's polynomial with power 1, as it trains transformers)."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1.0, total_steps - warmup)
    done = min(1.0, done)
    share = 1.0 - done if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return least + (1.0 - least) * share
