"""Text of the cost estimates that plan.py and a sweep print: tables of 80 columns and notes. No torch."""

import math
from collections.abc import Sequence
from pathlib import Path

from analysis.planning.throughput_model import TABLE6, residuals, share_intervals
from analysis.planning.throughput_records import Measured
from analysis.report.output import WIDTH, counted, print_wrapped
from experiments.launch.progress_display import told_apart
from experiments.planning.cost_estimate import Chain, Device, Forecast, forecast, title, total
from experiments.planning.counted_plan import counted_line
from experiments.planning.predicted_packing import packing_lines
from experiments.planning.rate_notes import assumed_lines, extrapolated_line, rates_line
from scaling.config.experiment import ExperimentConfig
from scaling.costs.token_counts import tokens_follow_images
from scaling.costs.token_limit import check_tokens
from scaling.costs.training_memory import SHARE
from scaling.errors import ConfigError
from scaling.runs.identity import recorded_id
from scaling.runs.teacher import teacher_flops

Table = list[list[str]]
STAGE_LETTERS = 8  # shown of a stage's name
MEASURED = (
    "predicted wall time in s, and predicted over measured; uncalibrated: by data sheet; leave-one-out: calibrated by "
    "records of the other runs"
)
UNFIT = "none"  # shown as micro-batch of a run that does not fit


def heading(chain: Chain, on: Device) -> str:
    """Heading of the tables of one backbone."""
    batches = list(dict.fromkeys(one.run.optim.global_batch_size for one in chain.stages))
    return f"{chain.title}: batch {', '.join(map(str, batches))} on {on.name}"


def stage_table(chains: Sequence[Chain]) -> list[str]:
    """Tokens, parameters, FLOPs, memory, micro-batch and hours; one row per patch size and stage."""
    its = [one for chain in chains for one in chain.stages]
    large, prefix = prefixed(max((one.epoch_flops for one in its if not math.isnan(one.epoch_flops)), default=1e15))
    scale, h = scaled(its)
    rows = [["patch", "stage", "tokens", "params", f"{prefix}FLOPs", "MB/image", "micro", "accum", f"{h}/epoch", h]]
    for chain in chains:
        for one in chain.stages:
            stage = f"{(one.run.stage or '')[:STAGE_LETTERS]} {one.run.model.img_size} px".strip()
            micro = str(one.micro_batch_size) if one.micro_batch_size else UNFIT if one.image_bytes else "?"
            accumulation = str(one.accumulation) if one.accumulation else "-"
            millions = one.parameters >= 1e6
            parameters = f"{one.parameters / 1e6:.1f}M" if millions else f"{one.parameters / 1e3:.1f}k"
            costs = [number(one.epoch_flops / large), number(one.image_bytes / 1e6)]
            hours = [number(one.epoch_hours * scale), number(one.hours * scale)]
            model = [str(chain.patch), stage, f"{one.tokens:,}", parameters]
            rows.append([*model, *costs, micro, accumulation, *hours])
    return aligned(rows, left={1})


def bill_table(chains: Sequence[Chain], on: Device, price: float) -> list[str]:
    """Hours, device-hours and cost of all stages and seeds; one row per patch size."""
    scale, h = scaled([one for chain in chains for one in chain.runs])
    rows = [["patch", "runs", f"total {h}", unit_of(on, h), *(["cost"] if price else [])]]
    for chain in chains:
        hours, device_hours = (sum(getattr(one, name) for one in chain.runs) for name in ("hours", "device_hours"))
        cost = [money(price * device_hours)] if price else []
        rows.append(
            [str(chain.patch), str(len(chain.runs)), number(hours * scale), number(device_hours * scale), *cost]
        )
    return aligned(rows)


def scaled(forecasts: Sequence[Forecast]) -> tuple[float, str]:
    """Factor for hours and unit: hours, or minutes where the longest run takes less than an hour."""
    longest = max((one.hours for one in forecasts if not math.isnan(one.hours)), default=1.0)
    return (60.0, "min") if longest < 1 else (1.0, "h")


def prefixed(most: float) -> tuple[float, str]:
    """Divisor of FLOPs and its prefix: P, T or G, by the largest value."""
    return (1e15, "P") if most >= 1e15 else (1e12, "T") if most >= 1e12 else (1e9, "G")


def sweep_table(found: Sequence[Chain], on: Device) -> list[str]:
    """Device-hours, one row per backbone and one column per patch size: the short form of a sweep. No lines where the
    table would be wider than 80 columns."""
    scale, h = scaled([one for chain in found for one in chain.runs])
    patches = sorted({chain.patch for chain in found}, reverse=True)
    rows = [[f"plan [{unit_of(on, h)}], patch", *map(str, patches), "total"]]
    for name in dict.fromkeys(chain.title for chain in found):
        cells = [[one for c in found if (c.title, c.patch) == (name, patch) for one in c.runs] for patch in patches]
        hours = [sum(one.device_hours for one in its) for its in cells]
        known = [number(scale * h) if its else "-" for its, h in zip(cells, hours, strict=True)]
        rows.append([name, *known, number(scale * total([one for its in cells for one in its]))])
    lines = aligned(rows, left={0})
    return lines if len(lines[0]) <= WIDTH else []


def notes(forecasts: Sequence[Forecast], on: Device, price: float = 0.0, what: str = "total") -> list[str]:
    """The total, and the assumptions behind it."""
    lines = [total_line(forecasts, on, price, what), *unfit_lines(forecasts, on)]
    rates = (rates_line(forecasts, on), extrapolated_line(forecasts, on))
    packed = packing_lines([(title(one.run), one.run, one.micro_batch_size) for one in forecasts], Path(on.where))
    rest = (
        counted_line([one.run for one in forecasts]),
        *rates,
        *assumed_lines(forecasts),
        *packed,
        *teacher_lines(forecasts),
    )
    return [*lines, *filter(None, rest)]


def total_line(forecasts: Sequence[Forecast], on: Device, price: float = 0.0, what: str = "total") -> str:
    """Number of runs, device-hours and cost. price: of one device-hour, in any currency; 0: no cost."""
    hours = total(forecasts)
    rate = f"{price:.2f}" if round(price, 2) == price else f"{price:g}"
    cost = f", {money(price * hours)} (at {rate} per {unit_of(on, 'hour')})" if price else ""
    unknown = sum(math.isnan(one.device_hours) for one in forecasts)
    if unknown == len(forecasts) > 0:
        return f"{what}: {counted(unknown, 'run')} without an estimate of hours"
    more = f"; excludes {counted(unknown, 'run')} without an estimate" if unknown else ""
    return f"{what}: {counted(len(forecasts), 'run')}, {duration(hours, on)}{cost}{more}"


def duration(hours: float, on: Device) -> str:
    """Device-hours, or minutes below one of them."""
    scale, h = (60.0, "min") if hours < 1 else (1.0, "h")
    return f"{number(hours * scale)} {unit_of(on, h)}"


def teacher_lines(forecasts: Sequence[Forecast]) -> list[str]:
    """Whether the costs of the runs include their teachers; a line for each teacher."""
    by_name = {taught.teacher: teacher_flops(one.run) for one in forecasts if (taught := one.run.distillation)}
    lines = []
    for name, flops in by_name.items():
        cost = "unknown before training; FLOPs, memory and hours are without it"
        if not math.isnan(flops):
            cost = f"a forward pass of {number(flops / 1e9)} GFLOPs per image, in FLOPs, memory and hours"
        lines.append(f"teacher {Path(name).name}: {cost}")
    return lines


def unit_of(on: Device, h: str = "h") -> str:
    """Unit of device-hours, or of device-minutes."""
    return f"{'machine' if on.card.cores else 'GPU'}-{h}"


def unfit_lines(forecasts: Sequence[Forecast], on: Device) -> list[str]:
    """Why runs have no estimate: one sentence per cause, image size and patch size."""
    lines = {}
    for one in forecasts:
        if refused := _refused(one.run):
            lines[refused] = refused
        elif not one.image_bytes:
            lines[one.run.model.backbone] = f"{one.run.model.backbone}: no cost model for this backbone"
        elif math.isnan(one.epoch_flops) and not one.run.schedule.max_steps:
            lines[one.run.data.dataset] = f"{one.run.data.dataset}: unknown number of training images; set --num-train"
        elif tokens_follow_images(one.run):
            lines["leaves"] = (
                "adaptive patches with a split_threshold above 0: the number of tokens follows from the images, at "
                "most as listed; FLOPs and hours are unknown"
            )
        elif not one.micro_batch_size:
            lines[f"{one.run.model.backbone} {one.run.model.img_size} {one.run.model.patch_size}"] = _unfit(one, on)
    return list(lines.values())


def _refused(run: ExperimentConfig) -> str:
    """Why a run would be refused at its start; "" where it would not."""
    try:
        check_tokens(run)
    except ConfigError as e:
        return f"refused: {e}"
    return ""


def _unfit(one: Forecast, on: Device) -> str:
    run, room = one.run, on.card.memory
    text = (
        f"patch {run.model.patch_size} at {run.model.img_size} px does not fit: the smallest step needs "
        f"{gigabytes(one.least_bytes)} of "
        f"{gigabytes(room)} (planned against {100 * SHARE:.0f} % of the memory left after the model)"
    )
    if on.grad_checkpointing:
        return text
    again = forecast(run, on._replace(grad_checkpointing=True))
    fits = f"fits, {again.micro_batch_size} at a time" if again.micro_batch_size else "does not fit either"
    return f"{text}; with --grad-checkpointing it needs {gigabytes(again.least_bytes)} and {fits}"


def residual_lines() -> list[str]:
    """Table 6, published and predicted."""
    found = residuals()
    columns = [("DeiT-Base", "epoch"), ("Adventurer-Base", "epoch"), ("ViT", "memory")]
    rows = [["patch", *(cell for name in ("DeiT", "Adventurer", "ViT") for cell in (name, "predicted", "error"))]]
    for patch in sorted({one.patch for one in found}, reverse=True):
        its = {(one.model, one.metric): one for one in found if one.patch == patch}
        cells = [[number(o.published), number(o.predicted), f"{o.miss:+.1%}"] for o in map(its.__getitem__, columns)]
        rows.append([str(patch), *(cell for three in cells for cell in three)])
    hours = [one for one in found if one.metric == "epoch"]
    seen, unseen = max(abs(o.miss) for o in hours), max(abs(o.unseen / o.published - 1) for o in hours)
    memory = max(abs(one.miss) for one in found if one.metric == "memory")
    text = (
        f"hours: 2 efficiencies fitted to 10 values, error at most {seen:.1%}, leave-one-out at most {unseen:.1%}; "
        f"memory: computed, not fitted, error at most {memory:.1%}"
    )
    head = "Table 6 of arXiv 2502.03738: epoch of Base models on one A100 [h], image [MiB]"
    return [head, *aligned(rows), text, shares_line()]


def shares_line() -> str:
    """The fitted shares of the data sheet's rates with 95 % intervals; no point estimate where not identified."""
    parts = []
    for name, (low, high) in share_intervals().items():
        known = high < 1
        value = f"{TABLE6.attention if name == 'products' else TABLE6.traffic:.2f} " if known else ""
        parts.append(
            f"{name} {value}[{low:.2f}, {high:.2f}]{'' if known else ' ? (not identified, the interval reaches 1)'}"
        )
    return f"shares of the data sheet's rates with 95 % intervals: {', '.join(parts)}"


def measured_lines(runs: Sequence[ExperimentConfig], on: Device) -> list[str]:
    """Wall times of the finished runs, measured and predicted: uncalibrated, and calibrated by the other runs."""
    names, by_id = told_apart(list(runs)), {one.run_id: one for one in on.records}
    rows = [["run", "measured s", "uncalibrated", "ratio", "leave-one-out", "ratio"]]
    for run in runs:
        if found := by_id.get(recorded_id(run, Path(on.where))):
            rough = forecast(run, on._replace(records=()))
            rows.append([names[run.run_id], *_beside(found, rough.hours, forecast(run, on, own=False).hours)])
    if len(rows) == 1:
        return [f"none of these runs is finished on this card in {on.where}"]
    return [*aligned(rows, left={0}), MEASURED]


def _beside(found: Measured, rough: float, by_others: float) -> list[str]:
    both = [[number(3600 * hours), f"x{3600 * hours / found.wall_time:.2f}"] for hours in (rough, by_others)]
    return [number(found.wall_time), *both[0], *both[1]]


def number(value: float) -> str:
    """Three significant digits; "?" for nan."""
    if math.isnan(value):
        return "?"
    if value >= 99.95:
        return f"{value:,.0f}"
    if value >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.095 else f"{value:.3f}" if value >= 0.0005 or not value else "<0.001"


def money(value: float) -> str:
    """Two decimals, none from 1,000 up; "?" for nan."""
    return "?" if math.isnan(value) else f"{value:,.0f}" if value >= 999.995 else f"{value:.2f}"


def gigabytes(value: float) -> str:
    return f"{number(value / 1e9)} GB"


def aligned(rows: Table, left: set[int] = frozenset()) -> list[str]:  # type: ignore[assignment]
    """Rows as lines with one space between columns and a rule under the header. left: columns aligned to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        " ".join(c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    return [lines[0], "-" * len(lines[0]), *(line.rstrip() for line in lines[1:])]


def print_lines(lines: Sequence[str]) -> None:
    """Print tables as they are, and wrap longer sentences."""
    for line in lines:
        print_wrapped(line) if len(line) > WIDTH else print(line)
