"""Data of the tables and figures in README.md and docs/: notebooks/records and analysis/measured."""

import csv
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

from analysis.records.run_set import RunSet, load
from analysis.records.seed_summaries import as_points

ROOT = Path(__file__).resolve().parents[2]
MEASURED = ROOT / "analysis" / "measured"
RECORDS = ROOT / "notebooks" / "records"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """The lines of a Markdown table. left: columns aligned to the left; all others are aligned to the right."""
    rule = ["---" if column in left else "---:" for column in range(len(head))]
    return [f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in (head, rule, *rows)]


def grouped(
    frame: pd.DataFrame, by: Sequence[str], printed: Callable[[pd.DataFrame], pd.DataFrame], left: Sequence[int]
) -> list[str]:
    """A table of what a report shows of each group of a frame, behind the columns that name the group."""
    rows, head = [], []
    for group, its in frame.groupby(list(by), sort=False):
        shown = printed(its)
        head = [*by, *(_one_line(name) for name in shown)]
        rows += [[*map(str, group), *map(_one_line, row)] for row in shown.itertuples(index=False)]
    return table(head, rows, left)


def _one_line(cell: object) -> str:
    return str(cell).replace("\n", " ")


def signed(value: float, low: float, high: float) -> str:
    """A difference and its interval as text; nan: it has none."""
    return f"{value:+.3f}" + ("" if math.isnan(low) else f" [{low:+.3f}, {high:+.3f}]")


def raw(name: str) -> list[str]:
    """A CSV file of analysis/measured as a Markdown table, cell for cell."""
    with (MEASURED / f"{name}.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    words = [k for k in range(len(head)) if any(row[k] and not row[k].strip("*-+")[:1].isdigit() for row in rows)]
    return table(head, rows, left=words or [0])


def numbers(name: str) -> pd.DataFrame:
    """A CSV file of analysis/measured as a frame."""
    return pd.read_csv(MEASURED / f"{name}.csv", thousands=",")


@functools.cache
def shapes_runs() -> RunSet:
    """The 50 runs of notebooks/records."""
    return load(RECORDS)


def shapes() -> pd.DataFrame:
    """The same as a frame with a row per run."""
    return shapes_runs().frame


@functools.cache
def cifar10_means() -> pd.DataFrame:
    """Mean and standard deviation of the test loss [nats], one row per backbone and patch size."""
    return numbers("cifar10_seeds")


def cifar10_runs() -> pd.DataFrame:
    """Runs with the means and standard deviations of CIFAR-10, as figures and tests take them."""
    points = as_points(cifar10_means())
    return points.assign(
        group="classify-cifar10-" + points["backbone"], status="finished", task="classify", data="cifar10", image=32
    )


def fenced(lines: Iterable[str]) -> list[str]:
    """Lines as a code block."""
    return ["```", *(line.rstrip() for line in lines), "```"]
