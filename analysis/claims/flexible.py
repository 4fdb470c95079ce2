"""Estimates of claims on one model for several patch sizes, from analysis/measured: flexivit_shapes.csv,
patch_order.csv and representations_shapes.csv. Differences are paired by seed, with 95 % intervals of Student's t."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd

from analysis.claims.measured import NAMES, measured, of_difference, of_values
from analysis.claims.verdict import Estimate
from analysis.similarity.finding import finding
from analysis.similarity.measured import measured_pairs
from analysis.studies.flexivit import FLEXIBLE, own_losses
from analysis.studies.patch_order import comparisons

SCHEDULE = r"\.\.|@"  # in the name of an order that changes along a run


def flexible_over_own() -> list[Estimate]:
    """Test loss of the flexible model less that of the model of each patch size [nats]."""
    losses = _losses()
    own, flexible = own_losses(losses), losses[losses["model_patch"] == FLEXIBLE]
    found = []
    for (backbone, patch), its in own.groupby(["backbone", "patch"], sort=False):
        ours = flexible[(flexible["backbone"] == backbone) & (flexible["patch"] == patch)]
        what = f"{NAMES[str(backbone)]}, {patch} px"
        found.append(of_difference(what, its.set_index("seed")["test_loss"], ours.set_index("seed")["test_loss"]))
    return found


def elsewhere(finer: bool) -> list[Estimate]:
    """Loss of each fixed model at patch sizes finer or coarser than its own, kernel resized by the pseudo-inverse, less
    that of the model of that patch size; mean over patch sizes [nats]."""
    away = _away(finer)
    off = away[away["resize"] == "pi"].assign(off=away["test_loss"] - away["test_loss_own"])
    side = "finer" if finer else "coarser"
    return [
        of_values(f"{NAMES[str(backbone)]} of {patch} px, at {side} patches", its.groupby("seed")["off"].mean())
        for (backbone, patch), its in off.groupby(["backbone", "model_patch"], sort=False)
    ]


def pi_over_area(finer: bool) -> list[Estimate]:
    """Loss of fixed models elsewhere with kernels resized by the pseudo-inverse over that by area, less 1, geometric
    mean over models and patch sizes [%]."""
    away = _away(finer)
    logs = away.assign(log=np.log(away["test_loss"]))
    means = logs.groupby(["backbone", "resize", "seed"], sort=False)["log"].mean()
    side = "finer" if finer else "coarser"
    found = []
    for name in dict.fromkeys(away["backbone"]):
        one = of_difference(f"{NAMES[name]}, at {side} patches", means[name, "area"], means[name, "pi"])
        found.append(Estimate(one.what, *(100 * float(np.expm1(value)) for value in one[1:])))
    return found


def _losses() -> pd.DataFrame:
    return measured("flexivit_shapes").fillna({"resize": ""})


def _away(finer: bool) -> pd.DataFrame:
    """Losses of fixed models at patch sizes on one side of their own, with test_loss_own, of the model of that size."""
    losses, keys = _losses(), ["backbone", "patch", "seed"]
    fixed = losses[losses["model_patch"] != FLEXIBLE]
    pairs = fixed.merge(own_losses(losses)[[*keys, "test_loss"]], on=keys, suffixes=("", "_own"))
    return pairs[pairs["patch"] < pairs["model_patch"] if finer else pairs["patch"] > pairs["model_patch"]]


def large_first(cost: str) -> list[Estimate]:
    """Change of the loss at the smallest patch by orders that begin with large patches, against this patch alone at
    equal cost [%]. cost: flops or seconds."""
    table = _orders()
    its = table[(table["cost"] == cost) & table["order"].str.contains(SCHEDULE)]
    return [
        Estimate(f"{NAMES[row['backbone']]}, {row['order']}", *(100 * row[end] for end in ("change", "low", "high")))
        for row in its.to_dict("records")
    ]


def random_sizes() -> list[Estimate]:
    """The same for patch sizes drawn uniformly, at equal FLOPs [%]."""
    table = _orders()
    its = table[(table["cost"] == "flops") & ~table["order"].str.contains(SCHEDULE)]
    return [
        Estimate(f"{NAMES[row['backbone']]}, {row['order']} px", *(100 * row[end] for end in ("change", "low", "high")))
        for row in its.to_dict("records")
    ]


@cache
def _orders() -> pd.DataFrame:
    return comparisons(measured("patch_order"))


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
