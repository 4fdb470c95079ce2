"""Section of machines and versions: what the runs were made with, by their records."""

from collections.abc import Iterator

import pandas as pd

from analysis.page.content import Content
from analysis.page.section import Section
from analysis.page.tables import Cell, table

PREFIXES = {"machine_": "machine", "version_": "version"}  # of columns of a run frame
GIB = 2**30


def section(content: Content) -> Section:
    """A row per fact, with each of its values and the number of runs that have it."""
    heads = ("fact", "kind", "values, and the number of runs that have each")
    rows = list(_rows(content.runs.frame))
    html = table("Machines and versions of the runs that ended", heads, rows)
    return Section("machines", "Machine and versions", html if rows else "<p>No run of this folder has ended.</p>")


def _rows(frame: pd.DataFrame) -> Iterator[list[Cell]]:
    if frame.empty:
        return
    yield ["started", "time", _span(frame["started"])]
    yield ["ended", "time", _span(frame["ended"])]
    yield ["commit", "version", _values(frame["git_commit"])]
    for prefix, kind in PREFIXES.items():
        for column in frame.columns[frame.columns.str.startswith(prefix)]:
            values = frame[column] / GIB if column == "machine_memory" else frame[column]
            name = column.removeprefix(prefix).replace("_", " ")
            yield [f"{name} [GiB]" if column == "machine_memory" else name, kind, _values(values)]


def _span(times: pd.Series) -> str:
    known = sorted(str(time) for time in times if time)
    return f"{known[0]} to {known[-1]}" if known else "unknown"


def _values(values: pd.Series) -> str:
    """The distinct values, the most frequent first."""
    counts = values.map(_text).value_counts(sort=True)
    return "; ".join(f"{value} ({number})" for value, number in counts.items())


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, float):
        return "unknown" if pd.isna(value) else f"{value:.4g}"
    return str(value) or "unknown"
