"""Tables of the order of patch sizes in docs/flexible.md, from analysis/measured/patch_order.csv."""

import pandas as pd

from analysis.studies import patch_order
from experiments.documentation.data import numbers, table


def curves(data: str) -> pd.DataFrame:
    """The curves of the runs on a data set, as analysis/studies/patch_order.py has them."""
    measured = numbers("patch_order")
    return measured[measured["data"] == data].reset_index(drop=True)


def ends() -> list[str]:
    """A row per order of patch sizes and length: its cost and its loss at the smallest patch size."""
    rows = []
    for data in ("shapes", "cifar10"):
        for backbone, its in curves(data).groupby("backbone", sort=False):
            shown = patch_order.printed(its)
            rows += [[data, str(backbone), *map(str, row)] for row in shown.itertuples(index=False)]
            head = ["data", "backbone", *shown.columns]
    return table(head, rows, left=(0, 1, 2))


def compared() -> list[str]:
    """A row per order of patch sizes: its loss against that of the smallest patch size alone at equal cost."""
    rows = []
    for data in ("shapes", "cifar10"):
        found = patch_order.comparisons(curves(data))
        for backbone, its in found.groupby("backbone", sort=False):
            shown = patch_order.compared(its)
            rows += [[data, str(backbone), *map(str, row)] for row in shown.itertuples(index=False)]
            head = ["data", "backbone", *shown.columns]
    return table(head, rows, left=(0, 1, 2, 3, 4))
