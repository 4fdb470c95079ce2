"""Pareto frontier of value and cost.

FLOPs by scaling/costs: an image is a forward pass, a training step is three of them.
"""

import numpy as np
import pandas as pd

from analysis.records.run_frame import finished
from scaling.costs.dataset_sizes import EMPTY, IMAGES


def frontier(frame: pd.DataFrame, cost: str = "flops_per_image", metric: str | None = None) -> pd.DataFrame:
    """The rows on the Pareto frontier, cheapest first: no other row has at most their cost and is at least as good,
    with one of the two strict. Rows equal in both are all kept.

    frame: a row per run, of one task and data set, or published numbers; failed rows and rows without cost or value are
    excluded.  cost: a column, lower is better.  metric: a column, higher is better unless its name contains "loss";
    None: test_loss [nats].  Raises ValueError where the frame has no such column."""
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
    """Runs that differ in the seed alone as one row with mean cost and value: the best of several seeds is biased. Rows
    keep their order; frames without seeds are unchanged."""
    if "seed" not in frame or "group" not in frame:
        return frame
    by = frame.groupby(["group", "patch"], sort=False)
    return frame.assign(**by[[cost, value]].transform("mean")).drop_duplicates(["group", "patch"])


def training_flops(frame: pd.DataFrame) -> pd.Series:
    """Training FLOPs of each run: three forward passes per image, and one of the teacher where it has one; without
    evaluation and earlier stages.

    frame: columns flops_per_image [FLOPs], steps, batch, epochs, train_images, data, and empty_images where it has
    that.  nan where the recipe takes all training images of a data set of unknown size."""
    everything = frame["data"].map({name: train for name, (train, _) in IMAGES.items()}).astype(float)
    if "empty_images" in frame:
        everything += frame["data"].map(EMPTY).where(frame["empty_images"] == "keep").fillna(0)
    epoch_images = frame["train_images"].astype(float).where(frame["train_images"] > 0, everything)
    images = (frame["steps"] * frame["batch"]).astype(float).where(frame["steps"] > 0, epoch_images * frame["epochs"])
    taught = frame["teacher_flops_per_image"].fillna(0.0) if "teacher_flops_per_image" in frame else 0.0
    return (3.0 * frame["flops_per_image"] + taught) * images
