"""The plan of a run whose model has no cost model: FLOPs and memory of a step as torch counts them, at the speed that
models with attention reach on the card. torch is imported where one is counted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from analysis.planning.throughput_model import PASSES, efficiency_of, number_bytes
from experiments.planning.phase_costs import Fit
from scaling import costs
from scaling.config.at_shape import model_shape, shapes_of
from scaling.config.experiment import ExperimentConfig
from scaling.costs.base import FLOAT
from scaling.costs.run_flops import STEP_PASSES
from scaling.costs.training_memory import SHARE
from scaling.engine.micro_batch_sizes import check_sizes

if TYPE_CHECKING:
    from experiments.planning.cost_estimate import Device
    from scaling.engine.counted_costs import CountedCosts


class CountedPlan(NamedTuple):
    """Estimated costs of one run."""

    parameters: int
    step_flops: int  # forward and backward pass of one image [FLOPs]
    image_bytes: float  # memory of one image in training [bytes]
    fit: Fit
    seconds: float  # of training per image, uncorrected [s]; nan: it does not fit


_counted: dict[tuple[object, ...], CountedCosts | None] = {}


def counted_plan(run: ExperimentConfig, on: Device) -> CountedPlan | None:
    """None where torch cannot count the model, or where its steps have several shapes. Raises ConfigError as
    phase_costs.fit does, and where the model cannot be built."""
    if set(shapes_of(run)) != {model_shape(run)}:
        return None
    its = _costs_of(run)
    if its is None:
        return None
    card, number = on.card, number_bytes(run, on.card)
    possible = check_sizes(run, on.cards, on.micro_batch_size)
    possible = [on.micro_batch_size] if on.micro_batch_size else possible
    kept = its.kept * number / FLOAT
    state = float(costs.optimiser_bytes(its.parameters, run.optim.model_ema_decay is not None))
    micro = max([n for n in possible if n * kept <= SHARE * (card.memory - state)], default=0)
    found = Fit(micro, possible[0], state + possible[0] * kept, state + micro * kept if micro else math.nan)
    e, rate = efficiency_of(card), card.bf16 if number == 2 else card.float32
    step = STEP_PASSES * its.flops
    seconds = step / rate / e.attention + PASSES * kept / card.traffic / e.traffic
    return CountedPlan(its.parameters, step, kept, found, seconds if micro else math.nan)


def counted_line(runs: Sequence[ExperimentConfig]) -> str:
    """The models whose costs are counted, in a line; "" where there is none."""
    names = dict.fromkeys(run.model.backbone for run in runs if not costs.recipe_parameters(run) and _costs_of(run))
    if not names:
        return ""
    return (
        f"counted by torch: FLOPs and memory of an image of {', '.join(names)}; hours are at the speed of models with "
        "attention, which no record corrects"
    )


def _costs_of(run: ExperimentConfig) -> CountedCosts | None:
    key = (run.model, run.task, run.data.num_classes)
    if key not in _counted:
        from scaling.engine.counted_costs import counted_costs

        _counted[key] = counted_costs(run)
    return _counted[key]
