"""Estimates of claims on images of several sizes, from analysis/measured: differences of test loss [nats], paired by
seed, with the 95 % interval of Student's t."""

from collections.abc import Callable

import pandas as pd

from analysis.claims.measured import NAMES, measured, of_difference
from analysis.claims.verdict import Estimate

UNTRAINED = (6, 14, 16)  # sizes of shapes.positions that training has not had [px]


def factorized_over_learned() -> list[Estimate]:
    """Loss of factorised positions, of either coordinates, less that of a learned table at untrained sizes."""
    runs = measured("positions_shapes")
    found = []
    for (backbone, size), its in runs[runs["size"].isin(UNTRAINED)].groupby(["backbone", "size"], sort=False):
        table = _loss(its[its["positions"] == "learned"])
        for name, ours in its[its["positions"].str.startswith("factorized")].groupby("positions", sort=False):
            found.append(of_difference(f"{NAMES[str(backbone)]}, {name}, {size} px", table, _loss(ours)))
    return found


def _loss(runs: pd.DataFrame) -> pd.Series:
    return runs.set_index("seed")["test_loss"]


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {"factorized_positions": factorized_over_learned}
