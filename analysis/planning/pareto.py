"""Frontier: what there is to buy for a cost, and which runs no other run beats at no more of it. No figure here.

FLOPs by scaling/costs.py: an image is a forward pass, a training step is three of them.
"""

import numpy as np
import pandas as pd

from analysis.records.run_set import finished
from scaling.costs.dataset_sizes import EMPTY, IMAGES


def frontier(frame: pd.DataFrame, cost: str = "flops_per_image", metric: str | None = None) -> pd.DataFrame:
    """The rows that no other row beats, cheapest first: none costs as little or less and is as good or better, one of
    the two strictly. Rows that are alike in both are all kept.

    frame: runs as analysis.records.run_set.load gives them, of one task and data set, or published numbers; rows that
    failed or that lack one of the two are left out.  cost: a column, less is better.  metric: a column, more is better,
    unless its name has "loss" in it; None: test_loss [nats].  Raises ValueError where the frame has no such column."""
    rows, value = comparable(frame, cost, metric), metric or "test_loss"
    rows = rows.assign(_bad=rows[value] if "loss" in value else -rows[value])
    rows = rows.sort_values([cost, "_bad"], kind="stable")
    best_cheaper = rows.groupby(cost)["_bad"].min().cummin().shift(fill_value=np.inf)
    cheapest_best = rows.groupby(cost)["_bad"].transform("min")
    kept = (rows["_bad"] == cheapest_best) & (rows["_bad"] < rows[cost].map(best_cheaper))
    return rows[kept].drop(columns="_bad")


def comparable(frame: pd.DataFrame, cost: str, metric: str | None = None) -> pd.DataFrame:
    """The rows that have both a cost above 0 and a value. Arguments and errors as for frontier."""
    value = metric or "test_loss"
    rows = finished(frame) if "status" in frame else frame
    if cost == "training_flops" and cost not in rows:
        rows = rows.assign(training_flops=training_flops(rows))
    absent = [column for column in (cost, value) if column not in rows]
    if absent:
        raise ValueError(f"the frame has no column {' and no column '.join(absent)}; it has: {', '.join(rows.columns)}")
    return rows[(rows[cost] > 0) & np.isfinite(rows[cost]) & np.isfinite(rows[value])]


def over_seeds(frame: pd.DataFrame, cost: str, value: str) -> pd.DataFrame:
    """Runs that differ in the seed alone as one row, the mean of their cost and value: the best of several seeds is
    luck, and no frontier. Rows keep their order; frames without a seed stay as they are."""
    if "seed" not in frame or "group" not in frame:
        return frame
    by = frame.groupby(["group", "patch"], sort=False)
    return frame.assign(**by[[cost, value]].transform("mean")).drop_duplicates(["group", "patch"])


def training_flops(frame: pd.DataFrame) -> pd.Series:
    """FLOPs of training each run: three forward passes an image, evaluation and earlier stages left out.

    frame: columns flops_per_image [FLOPs], steps, batch, epochs, train_images, data, and empty_images where it has
    that.  nan where the recipe takes all training images of a data set whose number is known to the machine that
    trained only."""
    everything = frame["data"].map({name: train for name, (train, _) in IMAGES.items()}).astype(float)
    if "empty_images" in frame:
        everything += frame["data"].map(EMPTY).where(frame["empty_images"] == "keep").fillna(0)
    an_epoch = frame["train_images"].astype(float).where(frame["train_images"] > 0, everything)
    images = (frame["steps"] * frame["batch"]).astype(float).where(frame["steps"] > 0, an_epoch * frame["epochs"])
    return 3.0 * frame["flops_per_image"] * images
