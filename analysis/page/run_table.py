"""Section of the runs: a table with a row per run folder, which the page sorts and filters."""

import math
from collections.abc import Iterator, Sequence

from analysis.page.content import Content
from analysis.page.section import Section, part, text
from analysis.page.tables import Cell, Number, number, table
from analysis.records.run_frame import headlines
from analysis.report.sweep_table import short

FIRST = ("run", "status", "recipe", "patch [px]", "seed", "test loss [nats]")
LAST = ("data", "image [px]", "parameters", "FLOPs per image", "images/s", "memory [B]", "time [s]", "ended")


def section(content: Content) -> Section:
    """All runs: those that ended by their records, the others by their state."""
    metrics = headlines(content.runs.frame)
    heads = [*FIRST, *(f"{name} [%]" for name in metrics.values()), *LAST]
    rows = [*_ended(content, list(metrics)), *_others(content, len(heads))]
    states = sorted({str(row[1]) for row in rows})
    options = "".join(f'<option value="{text(state)}">{text(state)}</option>' for state in states)
    html = part("runs.html").replace("<!-- states -->", options)
    return Section("runs", "Runs", html + table("All runs of this folder", heads, rows), part("runs.js"))


def _ended(content: Content, metrics: Sequence[str]) -> Iterator[list[Cell]]:
    names = content.recipes
    for run in content.runs.frame.to_dict("records"):
        yield [
            run["run_id"],
            run["status"],
            names[run["group"]],
            number(run["patch"], ".0f"),
            number(run["seed"], ".0f"),
            number(run["test_loss"], ".4f"),
            *(number(run[metric], ".2f") for metric in metrics),
            run["data"],
            number(run["image"], ".0f"),
            _prefixed(run["parameters"]),
            _prefixed(run["flops_per_image"]),
            _prefixed(run["images_per_second"]),
            _prefixed(run["peak_memory"]),
            number(run["wall_time"], ",.0f"),
            str(run["ended"])[:16].replace("T", " "),
        ]


def _others(content: Content, width: int) -> Iterator[list[Cell]]:
    """Runs without a record that can be used."""
    known = set(content.runs.frame["run_id"])
    for name, one in content.others.items():
        if name not in known:
            yield [name, one.state, *[""] * (width - 2)]


def _prefixed(value: float) -> Number:
    """A number with k, M, G or T; one that is 0 is not known."""
    return number(math.nan) if math.isnan(value) or value == 0 else Number(value, short(value))
