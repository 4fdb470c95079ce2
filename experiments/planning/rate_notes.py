"""What the hours of a plan rest on, in sentences: rates, records that corrected them or did not, what is assumed."""

import math
from collections.abc import Sequence

from analysis.planning.throughput_records import Measured
from analysis.report.output import counted
from experiments.planning.cost_estimate import Device, Forecast, conditions, records_for
from scaling.costs.conditions import Conditions
from scaling.costs.token_counts import is_of_photographs, seen_sides


def rates_line(forecasts: Sequence[Forecast], on: Device) -> str:
    """Where the rates are from."""
    if on.card.cores:
        rough = f"a rough {on.card.float32 / 1e9:.0f} GFLOPs/s a core (cycles x SIMD width), not a measurement"
    else:
        rough = f"{on.card.name}'s data sheet and the efficiencies of Table 6"
    ratios = [one.ratio for one in forecasts if not math.isnan(one.ratio)]
    passed_over = left_out_text(forecasts, on)
    if not ratios:
        none = "no record of this card" if not on.records else "no such record of this card"
        return f"rates: {rough}; {none} in {on.where}{passed_over}"
    spread = f"x{min(ratios):.2f}" if len(set(ratios)) == 1 else f"x{min(ratios):.2f} to x{max(ratios):.2f}"
    rest = len(forecasts) - len(ratios)
    others = f"; {counted(rest, 'run')} unlike any of them by {rough}" if rest else f" (over {rough})"
    records = counted(len(_used(forecasts, on)), "record")
    corrected = f"hours of {counted(len(ratios), 'run')} corrected by {records} of this card, {spread}"
    return f"rates: {corrected}{others}{passed_over}"


def _used(forecasts: Sequence[Forecast], on: Device) -> set[str]:
    """The records, by run_id, that may correct some of the forecasts."""
    return {record.run_id for one in forecasts for record in records_for(one.run, on)}


def left_out_text(forecasts: Sequence[Forecast], on: Device) -> str:
    """How many records of the card correct nothing because they ran otherwise, and in what; "" where there is none."""
    used = _used(forecasts, on)
    others = [record for record in on.records if record.run_id not in used]
    wanted = list(dict.fromkeys(conditions(one.run, on) for one in forecasts))
    told = ", ".join(sorted({_otherwise(record, wanted) for record in others}))
    return f"; {counted(len(others), 'record')} left out: {told}" if others else ""


def _otherwise(record: Measured, wanted: Sequence[Conditions]) -> str:
    """In what a record's run was trained otherwise than those that are planned."""
    if record.conditions is None:
        return "how they ran they do not say"
    its = record.conditions._asdict()
    differing = [[name for name, value in its.items() if value != getattr(one, name)] for one in wanted]
    return "other " + " and ".join(name.replace("_", " ") for name in min(differing, key=len) or ["devices"])


def extrapolated_line(forecasts: Sequence[Forecast], on: Device) -> str:
    """What Table 6 does not vouch for; "" where it does for all, or where records do."""
    plain = [one for one in forecasts if math.isnan(one.ratio)]
    alone = plain or [one for one in forecasts if any(r.devices != on.cards for r in records_for(one.run, on))]
    if on.card.cores or not alone:
        return ""
    together = [f"{on.cards} devices as fast together as alone"] if on.cards > 1 else []
    if not plain:
        return f"extrapolated: {'; '.join(together)}"
    said = [f"from the A100 to {on.card.name} by data sheet"] if not on.card.name.startswith("a100") else []
    others = {one.run.backbone for one in plain} - {"deit_base", "adventurer_base"}
    said += [f"other models than the Base ones ({', '.join(sorted(others))})"] if others else []
    said += ["fewer than 196 tokens"] if any(one.tokens < 196 for one in plain) else []
    said += ["more than 50,176 tokens"] if any(one.tokens > 50_176 for one in plain) else []
    said += ["other tasks than classification"] if any(one.run.task != "classify" for one in plain) else []
    said += together
    return f"extrapolated: {'; '.join(said)}" if said else ""


def assumed_lines(forecasts: Sequence[Forecast]) -> list[str]:
    """What sides images are taken to have that keep their shape, each data set once."""
    lines = {}
    for run in (one.run for one in forecasts if is_of_photographs(one.run)):
        height, width = seen_sides(run)
        lines[run.data, height, width] = (
            f"assumed: images of {run.data} are photographs of {height} x {width} px, 4:3; what they really are is not "
            "looked at, and costs go with their pixels"
        )
    return list(lines.values())
