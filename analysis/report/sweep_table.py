"""Sweep tables: one's own runs as the table of a sweep, and any frame printed, for a notebook or a terminal."""

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis.records.chance_level import NEAR, at_chance
from analysis.records.run_set import finished, headlines, labels
from analysis.report.output import print_wrapped
from scaling.runs.record import HEADLINES

COLUMNS = 80  # a terminal's width where nobody says otherwise [characters]
PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))

# name in the sweep table -> (column of the frame, unit, whether k, M, G, T may stand before it, decimals)
SWEEP = {
    "tokens": ("tokens", "", False, 0),
    "params": ("parameters", "", True, 1),
    "FLOPs": ("flops_per_image", "", True, 2),
    "loss": ("test_loss", "nats", False, 4),
    **{name: (metric, "%", False, 2) for metric, name in HEADLINES.values()},  # only those that some run has
    "images": ("images_per_second", "1/s", False, 0),
    "memory": ("peak_memory", "B", True, 2),
    "time": ("wall_time", "s", False, 1),
}


def sweep_table(frame: pd.DataFrame) -> pd.DataFrame:
    """What a sweep came to: a row for every group and patch size, patches from coarse to fine, means over seeds.

    frame: as analysis.records.run_set.load gives it.  Columns: group, backbone, patch [px], seeds (runs that finished),
    tokens per image, parameters, FLOPs per image (forward), test loss [nats], top-1 or mIoU [%] as the tasks have it,
    training images/s, peak memory and wall time, the large ones in k, M, G or T, which the column's name says.  A patch
    size whose runs all failed has seeds 0 and nan."""
    keys = frame[["group", "backbone", "patch"]].drop_duplicates()
    done = finished(frame).groupby(["group", "patch"])
    table = keys.join(done.size().rename("seeds"), on=["group", "patch"])
    table["seeds"] = table["seeds"].fillna(0).astype(int)
    absent = {metric for metric, _ in HEADLINES.values()} - set(headlines(frame))
    shown = {name: what for name, what in SWEEP.items() if what[0] not in absent}
    means = done[[column for column, *_ in shown.values()]].mean()
    for name, (column, unit, scaled, _) in shown.items():
        values = table[["group", "patch"]].join(means[column], on=["group", "patch"])[column]
        factor, prefix = _prefix(values.max()) if scaled else (1.0, "")
        table[_headed(name, prefix + unit)] = (values / factor).to_numpy()
    table = table.rename(columns={"patch": "patch [px]"})
    return table.sort_values(["group", "patch [px]"], ascending=[True, False], ignore_index=True)


def group_table(table: pd.DataFrame, group: str) -> pd.DataFrame:
    """sweep_table's rows of one group, without what is the same in all of them and the metrics of other tasks."""
    its = table[table["group"] == group].drop(columns=["group", "backbone"])
    empty = [c for _, name in HEADLINES.values() if (c := _headed(name, "%")) in its and its[c].isna().all()]
    return its.drop(columns=empty if its["seeds"].ne(1).any() else [*empty, "seeds"])


def print_sweep(frame: pd.DataFrame) -> None:
    """Print the table of every group. frame: as for sweep_table."""
    table = sweep_table(frame)
    for group, name in labels(frame).items():
        render_table(group_table(table, group), f"{name}   ({group})")
        its = frame[frame["group"] == group]
        if len(bad := its.loc[at_chance(its), "patch"]):
            said = ", ".join(map(str, sorted(set(bad), reverse=True)))
            print_wrapped(f"  has not learned, a loss of {NEAR} ln {its['classes'].iloc[0]} or more: patch {said}")


def render_table(table: pd.DataFrame, title: str = "", console: Console | None = None, *, as_is: bool = False) -> None:
    """Print a frame, numbers to the right, nan as "-", a column's unit under its name; sweep_table's with the decimals
    that its columns deserve. Plain text where the output is no terminal.

    as_is: the cells are text with blanks where they belong, and so are the columns' names."""
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
    decimals = 0 if whole else known[3] if known else 4
    return ["-" if pd.isna(value) else f"{value:,.{decimals}f}".replace(",", " ") for value in values]


def _prefix(largest: float) -> tuple[float, str]:
    """The largest of k, M, G, T that leaves the number at 1 or more."""
    return next(((factor, letter) for factor, letter in PREFIXES if largest >= factor), (1.0, ""))


def _headed(name: str, unit: str) -> str:
    return f"{name} [{unit}]" if unit else name
