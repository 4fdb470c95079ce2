"""Estimates of claims on images of several sizes, from analysis/measured: differences of test loss [nats], paired by
seed, with the 95 % interval of Student's t."""

from collections.abc import Callable, Sequence

import pandas as pd

from analysis.claims.measured import NAMES, measured, of_difference
from analysis.claims.verdict import Estimate
from analysis.studies.mixed_sizes import full_size

UNTRAINED = (6, 14, 16)  # sizes of shapes.positions that training has not had [px]
FALLING, CONSTANT = "0.8 to 0.2", "constant 0.5"  # in the names of ways of dropping


def mixed_over_full(sizes: Sequence[int]) -> list[Estimate]:
    """CIFAR-10: loss of models of mixed sizes, drawn per image, less that of models of the full size alone, at equal
    FLOPs and at these sizes of test images [px]."""
    runs = measured("navit_cifar10")
    full, found = full_size(runs), []
    for (backbone, size), its in runs[runs["size"].isin(sizes)].groupby(["backbone", "size"], sort=False):
        mixed = its[its["trained"].str.contains("-") & ~its["trained"].str.contains("per step")]
        equal = mixed[mixed["images"] == mixed["images"].max()]
        alone = its[its["trained"] == full]
        found.append(of_difference(f"CIFAR-10, {NAMES[str(backbone)]}, {size} px", _loss(alone), _loss(equal)))
    return found


def factorized_over_learned() -> list[Estimate]:
    """Loss of factorised positions, of either coordinates, less that of a learned table at untrained sizes."""
    runs = measured("positions_shapes")
    found = []
    for (backbone, size), its in runs[runs["size"].isin(UNTRAINED)].groupby(["backbone", "size"], sort=False):
        table = _loss(its[its["positions"] == "learned"])
        for name, ours in its[its["positions"].str.startswith("factorized")].groupby("positions", sort=False):
            found.append(of_difference(f"{NAMES[str(backbone)]}, {name}, {size} px", table, _loss(ours)))
    return found


def falling_over_constant() -> list[Estimate]:
    """Loss with a share of dropped tokens that falls along the run less that with a constant one, at equal FLOPs."""
    runs = measured("token_drop_shapes")
    found = []
    for backbone, its in runs.groupby("backbone", sort=False):
        longest = its[its["images"] > its.loc[its["dropped"] == "none", "images"].max()]
        one, other = (_loss(longest[longest["dropped"].str.contains(way)]) for way in (CONSTANT, FALLING))
        found.append(of_difference(NAMES[str(backbone)], one, other))
    return found


def kept_over_square() -> list[Estimate]:
    """Rectangles: loss where images keep their aspect ratio less that where they become squares of as many pixels."""
    runs = measured("aspect_ratios_shapes")
    return [
        of_difference(NAMES[str(name)], _loss(its[its["images"] == "squares"]), _loss(its[its["images"] == "kept"]))
        for name, its in runs.groupby("backbone", sort=False)
    ]


def _loss(runs: pd.DataFrame) -> pd.Series:
    return runs.set_index("seed")["test_loss"]


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    "mixed_sizes_elsewhere": lambda: mixed_over_full((16, 24)),
    "mixed_sizes_at_full": lambda: mixed_over_full((32,)),
    "factorized_positions": factorized_over_learned,
    "falling_drop": falling_over_constant,
    "kept_aspect_ratio": kept_over_square,
}
