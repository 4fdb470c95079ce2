"""Layout of the paper's tables: how the tidy frame of a table or figure of arXiv 2502.03738 is printed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

# Columns of own runs -> metric and unit, as analysis.paper.comparison.join_with_published takes them.
TOP1 = {"top1": ("top-1", "%")}


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """How a table is printed.

    name: "table1" or "figure1".  title: without the number.  rows: columns whose values identify a block of rows.
    across: the column whose values become columns; "" for one row per block.  along: columns of facts about a cell,
    with a row (for across "" a column) of their own.  usual: column -> the value that headings omit, because all
    published rows have it.  decimals: metric -> decimals, by default 1.  remarks: notes on own numbers, one line
    each."""

    name: str
    title: str
    rows: tuple[str, ...]
    across: str = "patch"
    along: tuple[str, ...] = ()
    usual: Mapping[str, object] = field(default_factory=dict)
    decimals: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def number(self) -> str:
        """ "Table 1" or "Figure 1"."""
        return self.name.replace("table", "Table ").replace("figure", "Figure ")

    @property
    def heading(self) -> str:
        return f"{self.number}: {self.title}"

    @property
    def source(self) -> str:
        return f"arXiv 2502.03738, {self.number}"


@dataclass(frozen=True, eq=False)
class PaperTable:
    """A table of the paper: frame has a row per number (analysis.paper.comparison.join_with_published)."""

    frame: pd.DataFrame
    spec: TableSpec


def after_patch(frame: pd.DataFrame, **columns: pd.Series | list[float]) -> pd.DataFrame:
    """frame with further columns after that of the patch size."""
    place = list(frame.columns).index("patch") + 1
    return pd.concat([frame.iloc[:, :place], pd.DataFrame(columns, index=frame.index), frame.iloc[:, place:]], axis=1)
