"""Estimates of claims on one model for several patch sizes, from analysis/measured: flexivit_*.csv, patch_order.csv and
representations_shapes.csv. Differences are paired by seed, with 95 % intervals of Student's t."""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pandas as pd

from analysis.claims.measured import DATA, NAMES, measured, of_difference, of_values
from analysis.claims.verdict import Estimate
from analysis.similarity.finding import finding
from analysis.similarity.measured import measured_pairs
from analysis.studies.flexivit import FLEXIBLE, own_losses
from analysis.studies.patch_order import comparisons

SCHEDULE = r"\.\.|@"  # in the name of an order that changes along a run


def flexible_over_own() -> list[Estimate]:
    """Test loss of the flexible model less that of the model of each patch size [nats]."""
    found = []
    for name, losses in _of_each_set():
        flexible = (
            losses[losses["model_patch"] == FLEXIBLE].set_index(["backbone", "patch", "seed"])["test_loss"].sort_index()
        )
        for (backbone, patch), its in own_losses(losses).groupby(["backbone", "patch"], sort=False):
            what = f"{name}, {NAMES[str(backbone)]}, {patch} px"
            found.append(of_difference(what, its.set_index("seed")["test_loss"], flexible[backbone, patch]))
    return found


def flexible_over_elsewhere() -> list[Estimate]:
    """Test loss of the flexible model less that of each fixed model, its kernel resized by the pseudo-inverse, at all
    other patch sizes; mean over these [nats]."""
    found = []
    for name, losses in _of_each_set():
        flexible = losses[losses["model_patch"] == FLEXIBLE]
        away = losses[(losses["resize"] == "pi") & (losses["model_patch"] != losses["patch"])]
        pairs = away.merge(flexible, on=["backbone", "patch", "seed"], suffixes=("", "_flexible"))
        pairs["off"] = pairs["test_loss_flexible"] - pairs["test_loss"]
        for (backbone, patch), its in pairs.groupby(["backbone", "model_patch"], sort=False):
            what = f"{name}, {NAMES[str(backbone)]} of {patch} px"
            found.append(of_values(what, its.groupby("seed")["off"].mean()))
    return found


def elsewhere(finer: bool) -> list[Estimate]:
    """Loss of each fixed model at patch sizes finer or coarser than its own, kernel resized by the pseudo-inverse, less
    that of the model of that patch size; mean over patch sizes [nats]."""
    found, side = [], "finer" if finer else "coarser"
    for name, losses in _of_each_set():
        away = _away(losses, finer)
        off = away[away["resize"] == "pi"].assign(off=away["test_loss"] - away["test_loss_own"])
        for (backbone, patch), its in off.groupby(["backbone", "model_patch"], sort=False):
            what = f"{name}, {NAMES[str(backbone)]} of {patch} px, at {side} patches"
            found.append(of_values(what, its.groupby("seed")["off"].mean()))
    return found


def pi_over_area(finer: bool) -> list[Estimate]:
    """Loss of fixed models elsewhere with kernels resized by the pseudo-inverse over that by area, less 1, geometric
    mean over models and patch sizes [%]."""
    found, side = [], "finer" if finer else "coarser"
    for data, losses in _of_each_set():
        away = _away(losses, finer)
        logs = away.assign(log=np.log(away["test_loss"]))
        means = logs.groupby(["backbone", "resize", "seed"], sort=False)["log"].mean()
        for name in dict.fromkeys(away["backbone"]):
            what = f"{data}, {NAMES[name]}, at {side} patches"
            one = of_difference(what, means[name, "area"], means[name, "pi"])
            found.append(Estimate(one.what, *(100 * float(np.expm1(value)) for value in one[1:])))
    return found


def _of_each_set() -> Iterator[tuple[str, pd.DataFrame]]:
    """The name of a data set, and the losses of flexible and fixed models on it."""
    for file, name in DATA.items():
        yield name, measured(f"flexivit_{file}").fillna({"resize": ""})


def _away(losses: pd.DataFrame, finer: bool) -> pd.DataFrame:
    """Losses of fixed models at patch sizes on one side of their own, with test_loss_own, of the model of that size."""
    keys = ["backbone", "patch", "seed"]
    fixed = losses[losses["model_patch"] != FLEXIBLE]
    pairs = fixed.merge(own_losses(losses)[[*keys, "test_loss"]], on=keys, suffixes=("", "_own"))
    return pairs[pairs["patch"] < pairs["model_patch"] if finer else pairs["patch"] > pairs["model_patch"]]


def large_first(cost: str) -> list[Estimate]:
    """Change of the loss at the smallest patch by orders that begin with large patches, against this patch alone at
    equal cost [%]. cost: flops or seconds."""
    table = _orders()
    its = table[(table["cost"] == cost) & table["order"].str.contains(SCHEDULE)]
    return _percent(its)


def random_sizes() -> list[Estimate]:
    """The same for patch sizes drawn uniformly, at equal FLOPs [%]."""
    table = _orders()
    its = table[(table["cost"] == "flops") & ~table["order"].str.contains(SCHEDULE)]
    return _percent(its)


def _percent(table: pd.DataFrame) -> list[Estimate]:
    """A row each, of _orders()."""
    numbers = (100 * table[["change", "low", "high"]]).to_numpy(float).tolist()
    names = zip(table["data"], table["backbone"], table["order"], numbers, strict=True)
    return [Estimate(f"{DATA[data]}, {NAMES[backbone]}, {order}", *ends) for data, backbone, order, ends in names]


@cache
def _orders() -> pd.DataFrame:
    runs = measured("patch_order")
    return pd.concat([comparisons(its).assign(data=data) for data, its in runs.groupby("data", sort=False)])


def similarity(statement: str) -> list[Estimate]:
    """Difference of CKA between patch sizes of flexible models. statement: a row of analysis/similarity/finding.py."""
    return [
        Estimate(what, *found.loc[statement, ["difference", "low", "high"]].astype(float))
        for what, found in _findings().items()
    ]


@cache
def _findings() -> dict[str, pd.DataFrame]:
    """What CKA finds in the flexible models of each backbone and coarsest patch size."""
    pairs = measured_pairs()
    its = pairs[pairs["models"] == "flexible"].groupby(["backbone", "coarsest"], sort=False)
    return {f"{NAMES[str(backbone)]}, up to {coarsest} px": finding(of) for (backbone, coarsest), of in its}


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    "flexible_over_own": flexible_over_own,
    "flexible_over_elsewhere": flexible_over_elsewhere,
    "elsewhere_finer": lambda: elsewhere(finer=True),
    "elsewhere_coarser": lambda: elsewhere(finer=False),
    "pi_over_area_finer": lambda: pi_over_area(finer=True),
    "pi_over_area_coarser": lambda: pi_over_area(finer=False),
    "large_first_flops": lambda: large_first("flops"),
    "large_first_seconds": lambda: large_first("seconds"),
    "random_sizes": random_sizes,
    "cka_early": lambda: similarity("patches: early more alike than the middle"),
    "cka_end": lambda: similarity("patches: end more alike than the middle"),
    "cka_class_token": lambda: similarity("class token more alike than patches, middle"),
}
