"""Estimates of claims on images of several sizes, from analysis/measured: differences of test loss [nats], paired by
seed, with the 95 % interval of Student's t."""

from collections.abc import Callable

import pandas as pd

from analysis.claims.measured import NAMES, measured, of_difference
from analysis.claims.verdict import Estimate

FULL, SMALLER = (32,), (16, 24)  # sizes of the test images of cifar10.navit [px]
UNTRAINED = {"shapes": (6, 14, 16), "cifar10": (12, 28, 32)}  # sizes of the study positions not trained at [px]
FALLING, CONSTANT = "schedule 0.8..0.2", "constant 0.5"  # ways of dropping


def factorized_over_learned(data: str) -> list[Estimate]:
    """Loss of factorised positions, of either coordinates, less that of a learned table at untrained sizes.
    data: of UNTRAINED."""
    runs = measured(f"positions_{data}")
    found = []
    for (backbone, size), its in runs[runs["size"].isin(UNTRAINED[data])].groupby(["backbone", "size"], sort=False):
        table = _loss(its[its["positions"] == "learned"])
        for name, ours in its[its["positions"].str.startswith("factorized")].groupby("positions", sort=False):
            found.append(of_difference(f"{NAMES[str(backbone)]}, {name}, {size} px", table, _loss(ours)))
    return found


def falling_over_constant() -> list[Estimate]:
    """Loss with a share of dropped tokens that falls along the run less that with a constant one, at equal FLOPs."""
    runs = measured("token_drop_shapes")
    found = []
    for backbone, its in runs[runs["sizes"] == "16"].groupby("backbone", sort=False):
        longer = its[its["images"] > its.loc[its["dropped"] == "none", "images"].max()]
        constant, falling = (_loss(longer[longer["dropped"] == way]) for way in (CONSTANT, FALLING))
        found.append(of_difference(NAMES[str(backbone)], constant, falling))
    return found


def mixed_over_full(sizes: tuple[int, ...]) -> list[Estimate]:
    """Loss of models of mixed sizes, drawn per image, less that of models of 32 px alone, at equal FLOPs.
    sizes: of CIFAR-10's test images [px]."""
    runs = measured("navit_cifar10")
    found = []
    for backbone, its in runs.groupby("backbone", sort=False):
        full, mixed = its[its["trained"] == "32 px"], its[its["trained"] == "16-32 px"]
        longer = mixed[mixed["images"] == mixed["images"].max()]
        for size in sizes:
            alone, ours = (_loss(of[of["size"] == size]) for of in (full, longer))
            found.append(of_difference(f"{NAMES[str(backbone)]}, {size} px", alone, ours))
    return found


def kept_over_squares() -> list[Estimate]:
    """Loss of models whose images keep their aspect ratio less that of models of squares with as many tokens."""
    runs = measured("rectangles_shapes")
    found = []
    for backbone, its in runs.groupby("backbone", sort=False):
        squares, kept = (_loss(its[its["images"] == shape]) for shape in ("squares", "rectangles"))
        found.append(of_difference(NAMES[str(backbone)], squares, kept))
    return found


def _loss(runs: pd.DataFrame) -> pd.Series:
    return runs.set_index("seed")["test_loss"]


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    "factorized_positions": lambda: factorized_over_learned("shapes"),
    "falling_drop": falling_over_constant,
    "kept_over_squares": kept_over_squares,
    "mixed_over_full_smaller": lambda: mixed_over_full(SMALLER),
    "mixed_over_full_full": lambda: mixed_over_full(FULL),
}
ON_CIFAR10: dict[str, Callable[[], list[Estimate]]] = {
    "factorized_positions": lambda: factorized_over_learned("cifar10"),
}
