"""Paper layout: how the tidy frame of a table or figure of arXiv 2502.03738 is to be read by people.

attrs of such a frame:
    name      "table1"           title     "Table 1: ..."        source  "arXiv 2502.03738, Table 1"
    rows      columns whose values together tell a block of rows from the next one
    across    the column whose values become the columns of the printed table; "": one row a block, nothing across
    along     {column: what to call it}: facts that go with a cell, a row (with nothing across, a column) of their own
    usual     {column: value}: what no heading says, because every published row has it
    decimals  {metric: digits behind the point}, one digit where it says nothing
    remarks   what one's own numbers rest on, said below them, a line each
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

TOP1 = {
    "top1": ("top-1", "%")
}  # columns of own runs -> metric and unit, as analysis.paper.comparison.beside wants them
FACTS = {"length": "tokens", "flops": "FLOPs", "embed_dim": "width", "mlp_dim": "MLP", "blocks": "blocks"}


def described(
    frame: pd.DataFrame,
    name: str,
    title: str,
    rows: Sequence[str],
    *,
    across: str = "patch",
    along: Sequence[str] = (),
    usual: Mapping[str, Any] | None = None,
    decimals: Mapping[str, int] | None = None,
    remarks: Sequence[str] = (),
) -> pd.DataFrame:
    """frame with its attrs, as the module says. along: columns, by the names that FACTS has for them, or their own."""
    printed = name.replace("table", "Table ").replace("figure", "Figure ")
    frame.attrs = {
        "name": name,
        "title": f"{printed}: {title}",
        "source": f"arXiv 2502.03738, {printed}",
        "rows": list(rows),
        "across": across,
        "along": {column: FACTS.get(column, column) for column in along},
        "usual": dict(usual or {}),
        "decimals": dict(decimals or {}),
        "remarks": list(remarks),
    }
    return frame


def after_patch(frame: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    """frame with further columns behind that of the patch size."""
    place = list(frame.columns).index("patch") + 1
    return pd.concat([frame.iloc[:, :place], pd.DataFrame(columns, index=frame.index), frame.iloc[:, place:]], axis=1)
