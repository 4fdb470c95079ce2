"""Section of the paper: Figures 1 to 4 of arXiv 2502.03738 as published, and own numbers in them where a run replicates
the setting of a published one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import pandas as pd

from analysis.fitting.axes import AXES
from analysis.page.content import Content
from analysis.page.laws import rounded
from analysis.page.section import Json, Section, part, text
from analysis.page.tables import Cell, number, table
from analysis.paper.comparison import paper_model
from analysis.paper.figure_data import figure1, figure2, figure3, figure4
from analysis.paper.layout import PaperTable
from analysis.plots.backbone_styles import styles
from analysis.records.run_frame import finished
from analysis.report.output import counted

NONE = (
    "No run of this folder replicates a setting of the paper: its model, image size and stages, on all of its data. So "
    "the figures show published numbers alone."
)
HEADS = ("figure", "of", "patch [px]", "published", "own", "seeds", "difference", "noise", "remark")
UNITS = {"input_px": " px", "tokens": " tokens"}  # of the columns of sizes
MARKS = {"*": "exceeds the noise", "?": "noise unknown: one seed", "": ""}


class Figure(NamedTuple):
    """How a figure's frame is drawn. panels, lines: the columns that identify a panel and a line in it."""

    make: Callable[[pd.DataFrame | None], PaperTable]
    panels: tuple[str, ...]
    lines: tuple[str, ...]
    x: str
    label: str  # of x
    unit: str  # of y


FIGURES = (
    Figure(figure1, ("panel", "model", "task", "input_px"), ("metric",), "patch", AXES["patch"].label, "nats"),
    Figure(figure2, ("model",), ("decoder",), "patch", AXES["patch"].label, "mIoU [%]"),
    Figure(figure3, ("input_px",), ("model",), "flops", AXES["flops_per_image"].label, "top-1 [%]"),
    Figure(figure4, ("model",), ("tokens",), "input_px", "image size [px], log scale", "top-1 [%]"),
)


def section(content: Content) -> Section:
    """The figures, and the numbers that can be compared as a table."""
    done = finished(content.runs.frame)
    replicates = done[[paper_model(run) != "" for run in done.to_dict("records")]]  # type: ignore[arg-type]
    own = None if replicates.empty else replicates
    drawn: list[Json] = []
    compared: list[list[Cell]] = []
    for figure in FIGURES:
        made = figure.make(own)
        frame = made.frame[made.frame["metric"] != "gap"]
        drawn.append(
            {
                "title": made.spec.heading,
                "x": figure.label,
                "patch": figure.x == "patch",
                "y": "test loss [nats]" if figure.unit == "nats" else figure.unit,
                "log": figure.unit == "nats",
                "panels": list(_panels(frame, figure)),
            }
        )
        compared += _compared(made, figure)
    count = counted(len(compared), "number")
    html = f"<p>{text(NONE)}</p>" if not compared else f"<p>{count} of this folder can be compared.</p>"
    html += part("paper.html")
    if compared:
        html += table("Published and own numbers", HEADS, compared)
    return Section("paper", "The paper's figures", html, part("paper.js"), {"figures": drawn})


def _panels(frame: pd.DataFrame, figure: Figure) -> Iterator[Json]:
    looks = styles(frame[list(figure.lines)].apply(lambda row: _words(figure.lines, row), axis=1))
    for key, its in frame.groupby(list(figure.panels), sort=False):
        lines: list[Json] = []
        for line, rows in its.groupby([*figure.lines, "label"], sort=False):
            name = _words(figure.lines, line[:-1])
            for source in ("published", "own"):
                points = rows.dropna(subset=[source]).drop_duplicates(figure.x).sort_values(figure.x)
                if len(points):
                    lines.append(
                        {
                            "name": name + (f", {line[-1]}" if source == "own" and line[-1] else ""),
                            "source": source,
                            "colour": looks[name][0],
                            "x": rounded(points[figure.x]),
                            "y": rounded(points[source]),
                            "patch": rounded(points["patch"]),
                        }
                    )
        yield {"title": _words(figure.panels, key), "lines": lines}


def _words(columns: Sequence[str], values: Iterable[object]) -> str:
    """The values that identify a panel or a line; sizes have their unit."""
    known = ((column, value) for column, value in zip(columns, values, strict=True) if value != "")
    return " ".join(f"{value}{UNITS.get(column, '')}" for column, value in known)


def _compared(made: PaperTable, figure: Figure) -> Iterator[list[Cell]]:
    frame = made.frame
    for row in frame[frame["difference"].notna()].to_dict("records"):
        columns = (*figure.panels, *figure.lines, "label")
        name = _words(columns, (row[column] for column in columns))
        values = (number(float(row[name])) for name in ("published", "own", "seeds", "difference", "noise"))
        yield [made.spec.number, name, number(row["patch"], "g"), *values, MARKS[row["mark"]]]
