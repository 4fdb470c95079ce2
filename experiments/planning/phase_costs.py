"""Memory, micro-batch and hours of the steps of each shape that a run's steps may have, and of the phases of its
schedule. No torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from analysis.planning.throughput_model import image_seconds, number_bytes
from scaling import costs
from scaling.config.at_shape import model_shape, phase_config, shapes_of, step_batch_size
from scaling.config.experiment import ExperimentConfig
from scaling.config.step_shapes import StepShape
from scaling.costs.phases import LEAST, Phase, phases_of
from scaling.costs.run_flops import shape_flops
from scaling.costs.training_memory import SHARE, step_bytes, teacher_bytes
from scaling.engine.micro_batch_sizes import check_sizes
from scaling.runs.teacher import teacher_config

if TYPE_CHECKING:
    from experiments.planning.cost_estimate import Device


class Fit(NamedTuple):
    """How a step's batch fits a device."""

    micro_batch_size: int  # images at a time; 0: none fits, or the memory is unknown
    smallest: int  # images at a time that are possible
    least_bytes: float  # memory with these, model included [bytes]
    peak_bytes: float  # memory with micro_batch_size [bytes]; nan: none fits


def fit(config: ExperimentConfig, on: Device) -> Fit:
    """Raises ConfigError where the batch cannot be divided among the devices, or among micro-batches of the requested
    size."""
    possible = check_sizes(config, on.cards, on.micro_batch_size)
    possible = [on.micro_batch_size] if on.micro_batch_size else possible
    policy = costs.MemoryPolicy(on.grad_checkpointing, number=number_bytes(config, on.card))
    teacher = teacher_config(config)
    steps = {n: step_bytes(config, n, policy, teacher) for n in possible}
    state = costs.optimiser_bytes(costs.recipe_parameters(config), config.optim.model_ema_decay is not None)
    state += teacher_bytes(teacher)
    micro = max([n for n in possible if 0 < steps[n] <= SHARE * (on.card.memory - state)], default=0)
    peak = float(state + steps[micro]) if micro else math.nan
    return Fit(micro, possible[0], float(state + steps[possible[0]]), peak)


class ShapeCosts(NamedTuple):
    """Of the steps of one shape."""

    fit: Fit
    step_seconds: float  # of all devices together, uncorrected [s]; nan: unknown


def shape_costs(run: ExperimentConfig, on: Device) -> dict[StepShape, ShapeCosts]:
    """Costs of a step of each shape."""
    found = {}
    for shape in sorted({model_shape(run), *shapes_of(run)}, reverse=True):
        config = phase_config(run, shape)
        its = fit(config, on)
        seconds = math.nan
        if its.micro_batch_size:
            seconds = image_seconds(config, on.card, its.micro_batch_size, on.grad_checkpointing)
        found[shape] = ShapeCosts(its, seconds * step_batch_size(run, shape) / on.cards)
    return found


def mean_image_seconds(run: ExperimentConfig, on: Device) -> float:
    """Expected seconds of a step divided by global_batch_size, uncorrected; nan: unknown [s]."""
    of_shape, flops = shape_costs(run, on), shape_flops(run)
    if not flops:
        return math.nan
    shares = run.step_shapes.shares(model_shape(run), flops)
    seconds = math.fsum(share * of_shape[shape].step_seconds for shape, share in shares.items())
    return seconds / run.optim.global_batch_size


class PhaseForecast(NamedTuple):
    """Estimated cost of one phase."""

    phase: Phase
    shapes: list[StepShape]  # coarse to fine
    micro_batch_size: int  # the smallest of its shapes; 0: does not fit, or unknown
    peak_bytes: float  # the most of its shapes [bytes]; nan: unknown
    hours: float  # without evaluations; nan: unknown


def phase_forecasts(run: ExperimentConfig, on: Device, total_steps: int, ratio: float) -> list[PhaseForecast]:
    """The phases of a run of so many steps. ratio: on the hours, from records."""
    of_shape, found = shape_costs(run, on), []
    for phase in phases_of(run, total_steps):
        shapes = [shape for shape, share in phase.shares.items() if share > LEAST]
        fits = [of_shape[shape].fit for shape in shapes]
        seconds = math.fsum(phase.steps * phase.shares[shape] * of_shape[shape].step_seconds for shape in shapes)
        found.append(
            PhaseForecast(
                phase,
                shapes,
                min(its.micro_batch_size for its in fits),
                max((its.peak_bytes for its in fits), key=lambda its: math.inf if math.isnan(its) else its),
                ratio * seconds / 3600,
            )
        )
    return found
