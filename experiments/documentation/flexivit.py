"""Tables of fixed models at other patch sizes in docs/flexible.md, from analysis/measured/flexivit_shapes.csv and
flexivit_cifar10.csv."""

import numpy as np
import pandas as pd

from analysis.studies import flexivit
from experiments.documentation.data import grouped, numbers, table

WAYS = ("pi", "area", "norm", "vanilla")


def losses(data: str = "shapes") -> pd.DataFrame:
    """The losses of the runs on a data set, as analysis/studies/flexivit.py has them."""
    return numbers(f"flexivit_{data}").fillna({"resize": ""})


def against_own(data: str) -> list[str]:
    """A row per patch size: the flexible model against the model of that patch size."""
    return grouped(flexivit.compared(losses(data)), ["backbone"], flexivit.printed_comparison, left=(0, 6))


def elsewhere(data: str = "shapes") -> list[str]:
    """A row per model, its kernel resized by the pseudo-inverse: its loss at all patch sizes."""
    found, rows = losses(data), []
    for backbone, its in found[found["resize"].isin(["", "pi"])].groupby("backbone", sort=False):
        shown = flexivit.printed_elsewhere(its).drop(columns="kernel\nby")
        rows += [[str(backbone), *map(str, row)] for row in shown.itertuples(index=False)]
        head = ["backbone", *(name.replace("\n", " ") for name in shown)]
    return table(head, rows)


def by_way(data: str = "shapes") -> list[str]:
    """Loss of a model at patch sizes finer or coarser than its own, over that of the model of these sizes with the same
    seed: geometric means over models and patch sizes, for each way of resizing; mean and spread of the seeds'."""
    found = losses(data)
    fixed, keys = found[found["resize"] != ""], ["backbone", "patch", "seed"]
    pairs = fixed.merge(flexivit.own_losses(found)[[*keys, "test_loss"]], on=keys, suffixes=("", "_own"))
    pairs = pairs[pairs["patch"] != pairs["model_patch"]]
    pairs["side"] = np.where(pairs["patch"] < pairs["model_patch"], "finer", "coarser")
    pairs["log"] = np.log(pairs["test_loss"] / pairs["test_loss_own"])
    of_seeds = np.exp(pairs.groupby(["backbone", "side", "resize", "seed"], sort=False)["log"].mean())
    means = of_seeds.groupby(["backbone", "side", "resize"], sort=False).agg(["mean", "std"])
    rows = []
    for backbone in found["backbone"].unique():
        for side in ("finer", "coarser"):
            cells = [means.loc[(backbone, side, way)] for way in WAYS]
            rows.append([backbone, side, *(f"{cell['mean']:.2f} ± {cell['std']:.2f}" for cell in cells)])
    return table(["backbone", "at patches", *WAYS], rows, left=(0, 1))
