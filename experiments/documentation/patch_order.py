"""Tables of the order of patch sizes in docs/flexible.md, from analysis/measured/patch_order.csv."""

from collections.abc import Callable

import pandas as pd

from analysis.studies import patch_order
from experiments.documentation.data import numbers, table


def curves(data: str) -> pd.DataFrame:
    """The curves of the runs on a data set, as analysis/studies/patch_order.py has them."""
    measured = numbers("patch_order")
    return measured[measured["data"] == data].reset_index(drop=True)


def ends() -> list[str]:
    """A row per order of patch sizes and length: its cost and its loss at the smallest patch size."""
    return _of_each_backbone(lambda its: patch_order.printed(its), left=3)


def compared() -> list[str]:
    """A row per order of patch sizes: its loss against that of the smallest patch size alone at equal cost."""
    return _of_each_backbone(lambda its: patch_order.compared(patch_order.comparisons(its)), left=5)


def _of_each_backbone(shown: Callable[[pd.DataFrame], pd.DataFrame], left: int) -> list[str]:
    """The rows that are shown of each data set and backbone, one below the other. left: columns of words."""
    parts = []
    for (data, backbone), its in numbers("patch_order").groupby(["data", "backbone"], sort=False):
        rows = shown(its)
        rows.insert(0, "data", str(data))
        rows.insert(1, "backbone", str(backbone))
        parts.append(rows)
    whole = pd.concat(parts, ignore_index=True)
    return table(list(whole.columns), whole.astype(str).to_numpy().tolist(), left=range(left))
