"""Notes under a plan: where its rates are from, which records calibrated them, what is extrapolated or assumed."""

import math
from collections.abc import Sequence

from analysis.planning.throughput_records import Measured
from analysis.report.output import counted
from experiments.planning.cost_estimate import Device, Forecast, conditions, records_for
from scaling.costs.conditions import Conditions
from scaling.costs.token_counts import assumes_photographs, unpadded_sides

TABLE6_BACKBONES = ("deit_base", "adventurer_base")  # that the efficiencies are fitted to, and their tokens per image:
TABLE6_TOKENS = (196, 50_176)


def rates_line(forecasts: Sequence[Forecast], on: Device) -> str:
    """Source of the rates."""
    if on.card.cores:
        rough = f"{on.card.float32 / 1e9:.0f} GFLOPs/s per core (clock rate x SIMD width), a rough assumption"
    else:
        rough = f"{on.card.name}'s data sheet and the efficiencies of Table 6"
    ratios = [one.ratio for one in forecasts if not math.isnan(one.ratio)]
    unused = unused_records(forecasts, on)
    if not ratios:
        none = "no record of this card" if not on.records else "no record of this card under these conditions"
        return f"rates: {rough}; {none} in {on.where}{unused}"
    spread = f"x{min(ratios):.2f}" if len(set(ratios)) == 1 else f"x{min(ratios):.2f} to x{max(ratios):.2f}"
    rest = len(forecasts) - len(ratios)
    others = f"; {counted(rest, 'run')} of other kinds: {rough}" if rest else f" (relative to {rough})"
    records = counted(len(_used(forecasts, on)), "record")
    calibrated = f"hours of {counted(len(ratios), 'run')} calibrated by {records} of this card, {spread}"
    return f"rates: {calibrated}{others}{unused}"


def _used(forecasts: Sequence[Forecast], on: Device) -> set[str]:
    """Run IDs of the records that may calibrate some of the forecasts."""
    return {record.run_id for one in forecasts for record in records_for(one.run, on)}


def unused_records(forecasts: Sequence[Forecast], on: Device) -> str:
    """How many records of the card calibrate nothing, and in which conditions they differ; "" where there is none."""
    used = _used(forecasts, on)
    others = [record for record in on.records if record.run_id not in used]
    wanted = list(dict.fromkeys(conditions(one.run, on) for one in forecasts))
    reasons = ", ".join(sorted({_difference(record, wanted) for record in others}))
    return f"; {counted(len(others), 'record')} not used: {reasons}" if others else ""


def _difference(record: Measured, wanted: Sequence[Conditions]) -> str:
    """The conditions in which a record differs from the most similar of the planned runs."""
    if record.conditions is None:
        return "conditions not recorded"
    own = record.conditions._asdict()
    differing = [[name for name, value in own.items() if value != getattr(one, name)] for one in wanted]
    return "different " + " and ".join(name.replace("_", " ") for name in min(differing, key=len) or ["devices"])


def extrapolated_line(forecasts: Sequence[Forecast], on: Device) -> str:
    """The extrapolations of a plan beyond Table 6; "" where there are none, or where records of the card cover them."""
    plain = [one for one in forecasts if math.isnan(one.ratio)]
    alone = plain or [one for one in forecasts if any(r.devices != on.cards for r in records_for(one.run, on))]
    if on.card.cores or not alone:
        return ""
    together = [f"linear speed-up on {on.cards} devices"] if on.cards > 1 else []
    if not plain:
        return f"extrapolated: {'; '.join(together)}"
    beyond = [f"from the A100 to {on.card.name} by data sheet"] if not on.card.name.startswith("a100") else []
    others = {one.run.model.backbone for one in plain} - set(TABLE6_BACKBONES)
    beyond += [f"models other than Base ({', '.join(sorted(others))})"] if others else []
    fewest, most = TABLE6_TOKENS
    beyond += [f"fewer than {fewest:,} tokens"] if any(one.tokens < fewest for one in plain) else []
    beyond += [f"more than {most:,} tokens"] if any(one.tokens > most for one in plain) else []
    beyond += ["tasks other than classification"] if any(one.run.task.kind != "classify" for one in plain) else []
    beyond += together
    return f"extrapolated: {'; '.join(beyond)}" if beyond else ""


def assumed_lines(forecasts: Sequence[Forecast]) -> list[str]:
    """Image sizes that are assumed because the files are not read; one sentence per data set and size."""
    lines = {}
    for run in (one.run for one in forecasts if assumes_photographs(one.run)):
        height, width = unpadded_sides(run)
        lines[run.data.dataset, height, width] = (
            f"assumed: images of {run.data.dataset} are 4:3 photographs, {height} x {width} px in training; the files "
            "are not read, and costs are proportional to the pixels"
        )
    return list(lines.values())
