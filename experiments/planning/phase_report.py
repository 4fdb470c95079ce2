"""Text of the phases of runs with a schedule, for plan.py: steps, sizes, images, FLOPs, memory and hours. No torch."""

import math
from collections.abc import Iterable, Sequence

from experiments.cli.data_check import images
from experiments.planning.cost_estimate import Chain, Device, Forecast
from experiments.planning.phase_costs import PhaseForecast, phase_forecasts
from experiments.planning.plan_report import UNFIT, aligned, number, prefixed, scaled
from scaling.config.step_shapes import PatchSchedule

NOTE = "phases: images per step; GB: of a device, model included; images and FLOPs as expected, without evaluations"


def phase_table(chains: Sequence[Chain], on: Device) -> list[str]:
    """One row per patch size, stage and phase; no lines where no run has a schedule, or its steps are unknown."""
    found = [(chain.patch, one, _phases(one, on)) for chain in chains for one in chain.stages]
    found = [(patch, one, phases) for patch, one, phases in found if phases]
    if not found:
        return []
    large, prefix = prefixed(max(its.phase.flops for _, _, phases in found for its in phases))
    scale, h = scaled([one for _, one, _ in found])
    rows = [["--patch", "phase", "steps", "patches", "image", "images", f"{prefix}FLOPs", "GB", "micro", h]]
    for patch, _, phases in found:
        for place, its in enumerate(phases, start=1):
            phase = its.phase
            sizes = [_sizes(shape.patch_size for shape in its.shapes), _sizes(shape.img_size for shape in its.shapes)]
            flops = number(phase.flops / large) if phase.flops else "?"
            micro = str(its.micro_batch_size) if its.micro_batch_size else UNFIT
            cost = [flops, number(its.peak_bytes / 1e9), micro, number(its.hours * scale)]
            rows.append(
                [str(patch), str(place), f"{phase.steps:,}", *sizes, f"{phase.images / phase.steps:,.0f}", *cost]
            )
    return [*aligned(rows), NOTE]


def _phases(one: Forecast, on: Device) -> list[PhaseForecast]:
    run = one.run
    epoch, _ = images(run)
    if not isinstance(run.step_shapes, PatchSchedule) or (math.isnan(epoch) and not run.schedule.max_steps):
        return []
    steps = run.schedule.max_steps or int(epoch) // run.optim.global_batch_size * run.schedule.epochs
    return phase_forecasts(run, on, steps, 1.0 if math.isnan(one.ratio) else one.ratio)


def _sizes(sizes: Iterable[int]) -> str:
    return ",".join(map(str, sorted(set(sizes), reverse=True)))
