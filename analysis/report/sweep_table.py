"""Sweep tables: the runs of a sweep as a table, and any frame printed, for a notebook or a terminal."""

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis.records.chance_level import NEAR, at_chance
from analysis.records.group_labels import labels
from analysis.records.run_frame import finished, headlines
from analysis.records.shared_weights import are_shared
from analysis.report.output import print_wrapped
from scaling.runs.record import HEADLINES

COLUMNS = 80  # width where the output is not a terminal [characters]
PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


class Column(NamedTuple):
    """A column of the sweep table."""

    source: str  # column of the frame
    unit: str
    prefixed: bool  # whether the unit takes a prefix k, M, G or T
    decimals: int


SWEEP = {  # by name in the table
    "tokens": Column("tokens", "", False, 0),
    "params": Column("parameters", "", True, 1),
    "FLOPs": Column("flops_per_image", "", True, 2),
    "loss": Column("test_loss", "nats", False, 4),
    **{name: Column(metric, "%", False, 2) for metric, name in HEADLINES.values()},  # only those that some run has
    "images": Column("images_per_second", "1/s", False, 0),
    "memory": Column("peak_memory", "B", True, 2),
    "time": Column("wall_time", "s", False, 1),
}


def sweep_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The results of a sweep: a row for every group and patch size, patches from coarse to fine, means over seeds.

    frame: of a RunSet, or of analysis/records/shared_weights.py.  Columns: group, backbone, patch [px], seeds (runs
    that finished), tokens per image, parameters, FLOPs per image (forward), test loss [nats], the headline metrics of
    the tasks [%], training images/s, peak memory and wall time, large values with a prefix k, M, G or T in the column's
    name.  A patch size whose runs all failed has seeds 0 and nan."""
    keys = frame[["group", "backbone", "patch"]].drop_duplicates()
    done = finished(frame).groupby(["group", "patch"])
    table = keys.join(done.size().rename("seeds"), on=["group", "patch"])
    table["seeds"] = table["seeds"].fillna(0).astype(int)
    absent = {metric for metric, _ in HEADLINES.values()} - set(headlines(frame))
    shown = {name: column for name, column in SWEEP.items() if column.source not in absent}
    means = done[[column.source for column in shown.values()]].mean()
    for name, column in shown.items():
        values = table[["group", "patch"]].join(means[column.source], on=["group", "patch"])[column.source]
        factor, prefix = _prefix(values.max()) if column.prefixed else (1.0, "")
        table[_headed(name, prefix + column.unit)] = (values / factor).to_numpy()
    table = table.rename(columns={"patch": "patch [px]"})
    return table.sort_values(["group", "patch [px]"], ascending=[True, False], ignore_index=True)


def group_table(table: pd.DataFrame, group: str) -> pd.DataFrame:
    """sweep_table's rows of one group, without constant columns and the metrics of other tasks."""
    its = table[table["group"] == group].drop(columns=["group", "backbone"])
    empty = [c for _, name in HEADLINES.values() if (c := _headed(name, "%")) in its and its[c].isna().all()]
    return its.drop(columns=empty if its["seeds"].ne(1).any() else [*empty, "seeds"])


def print_sweep(frame: pd.DataFrame) -> None:
    """Print the table of every group. frame: as for sweep_table."""
    table = sweep_table(frame)
    for group, name in labels(frame).items():
        render_table(group_table(table, group), f"{name}   ({group})")
        its = frame[frame["group"] == group]
        if are_shared(its):
            print_wrapped(
                "  one set of weights at all patch sizes; images/s, memory and time are those of the whole run"
            )
        if len(bad := its.loc[at_chance(its), "patch"]):
            patches = ", ".join(map(str, sorted(set(bad), reverse=True)))
            print_wrapped(f"  at chance level (a loss of {NEAR} ln {its['classes'].iloc[0]} or more): patch {patches}")


def render_table(table: pd.DataFrame, title: str = "", console: Console | None = None, *, as_is: bool = False) -> None:
    """Print a frame, numbers right-aligned, nan as "-", a column's unit below its name; columns of sweep_table with
    their decimals. Plain text where the output is not a terminal.

    as_is: cells and column names are text that is padded already."""
    console = console or Console(width=None if Console().is_terminal else COLUMNS)
    padding = (0, 0 if as_is else 1, 0, 0)
    drawn = Table(
        box=box.SIMPLE_HEAD, title=escape(title) or None, title_justify="left", title_style="bold", padding=padding
    )
    cells = {str(column): _cells(str(column), values) for column, values in table.items()}
    for column, texts in cells.items():
        numbers = not as_is and all(text[:1].isdigit() or text[:1] == "-" for text in texts)
        head = escape(column if as_is else column.replace(" [", "\n[", 1))
        drawn.add_column(head, justify="right" if numbers else "left", overflow="fold")
    for row in range(len(table)):
        drawn.add_row(*(escape(column[row]) for column in cells.values()))
    console.print(drawn)


def render_part(
    table: pd.DataFrame, backbone: object, printed: Callable[[pd.DataFrame], pd.DataFrame], title: str = ""
) -> None:
    """Print the rows of one backbone, as `printed` shows them; nothing where there are none."""
    its = table[table["backbone"] == backbone]
    if len(its):
        render_table(printed(its), title)


def short(number: float) -> str:
    """Three digits and k, M, G or T: 12.3G."""
    factor, prefix = _prefix(number)
    scaled = number / factor
    decimals = 2 if scaled < 10 else 1 if scaled < 100 else 0
    return f"{scaled:.{decimals}f}{prefix}"


def _cells(name: str, values: pd.Series) -> list[str]:
    """The text of a column. Whole numbers have no decimals."""
    if not pd.api.types.is_numeric_dtype(values):
        return [str(value) for value in values]
    known = SWEEP.get(name.split(" [")[0])
    whole = bool((values.dropna() % 1 == 0).all())
    decimals = 0 if whole else known.decimals if known else 4
    return ["-" if pd.isna(value) else f"{value:,.{decimals}f}".replace(",", " ") for value in values]


def _prefix(largest: float) -> tuple[float, str]:
    """The largest of k, M, G, T that leaves the number at 1 or more."""
    return next(((factor, letter) for factor, letter in PREFIXES if largest >= factor), (1.0, ""))


def _headed(name: str, unit: str) -> str:
    return f"{name} [{unit}]" if unit else name
