"""Estimates of the claim on filters of the patch embedding, from filters_shapes.csv in analysis/measured: a row per
run with a plain convolution, three seeds (experiments/filters.py)."""

from collections.abc import Callable

import pandas as pd

from analysis.claims.measured import NAMES, measured
from analysis.claims.paired import mean_of
from analysis.claims.verdict import Estimate


def share_of_full_rank(table: pd.DataFrame) -> list[Estimate]:
    """Effective rank of the trained filters over the largest that it can be, min(3 p², D) [1]. table: backbone, patch
    [px], seed, filters D, inputs 3 p², effective_rank."""
    share = table["effective_rank"] / table[["filters", "inputs"]].min(axis=1)
    groups = table.assign(share=share).groupby(["backbone", "patch"], sort=False)
    return [
        mean_of(f"{NAMES[str(backbone)]}, {patch} px", its.set_index("seed")["share"])
        for (backbone, patch), its in groups
    ]


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    "share_of_full_rank": lambda: share_of_full_rank(measured("filters_shapes")),
}
