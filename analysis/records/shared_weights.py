"""Runs that learned several patch sizes with one set of weights, with a row per patch size, beside runs of one.

RunSet.frame has one row per run, that of its finest patch. A curve over patch sizes needs all of them, and whatever
counts rows as independent runs must not: rows of one run have the same run_id (analysis/fitting/shared_runs.py).
"""

import math

import pandas as pd

from analysis.records.run_frame import METRICS
from analysis.records.run_set import RunSet

OF_THE_RUN = ["images_per_second", "peak_memory", "wall_time"]  # of training all patch sizes; in the finest's row alone
OF_THE_FINEST = ("train_loss", "val_", "test_loss_")  # beginnings of metrics that other patch sizes do not have


def by_patch(runs: RunSet) -> pd.DataFrame:
    """The frame of a RunSet, with a row for each patch size that a run learned: with the tokens, FLOPs, loss and
    headline metrics there. What belongs to the run as a whole is in the row of its finest patch alone, else nan."""
    frame = runs.frame
    found = runs.evaluations
    if "learned" not in found:
        return frame
    wanted = found["learned"].eq(other=True) & (found["patch_size"] != found["patch"])
    others = found[wanted & found["run_id"].isin(runs.finished["run_id"])].reset_index(drop=True)
    if others.empty:
        return frame
    rows = frame.set_index("run_id").loc[others["run_id"]].reset_index()
    measured = ["tokens", "flops_per_image", "test_loss", *(name for name in METRICS if name in others)]
    rows[measured] = others[measured]
    rows["patch"] = others["patch_size"]
    rows[OF_THE_RUN] = math.nan
    rows = rows.drop(columns=[name for name in rows if str(name).startswith(OF_THE_FINEST)])
    both = pd.concat([frame, rows], ignore_index=True)
    return both.sort_values(["group", "patch", "seed"], ascending=[True, False, True], ignore_index=True)


def are_shared(points: pd.DataFrame) -> bool:
    """Whether some run gave several of the points. points: with run_id, where runs are known."""
    return "run_id" in points and bool(points["run_id"].duplicated().any())
