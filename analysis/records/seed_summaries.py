"""Seed summaries: runs of several seeds as mean and standard deviation, and points with a given mean and deviation."""

import numpy as np
import pandas as pd


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds: backbone, patch [px] from coarse to fine, seeds, mean, sd [nats] (nan for one seed).
    frame: runs that finished, with backbone, patch and test_loss [nats]."""
    by = frame.groupby(["backbone", "patch"], sort=False)["test_loss"]
    found = by.agg(["count", "mean", "std"]).rename(columns={"count": "seeds", "std": "sd"}).reset_index()
    return found.sort_values("patch", ascending=False, kind="stable", ignore_index=True)


def as_points(means: pd.DataFrame) -> pd.DataFrame:
    """Points with the given means and standard deviations: mean - sd, mean, mean + sd for three seeds. They suffice for
    Welch's test, and for least squares of log loss to second order in sd / mean. No test may pair them, so patches have
    no seed in common.
    means: of summary; ValueError where a mean does not exceed its deviation.  Columns: backbone, patch, seed, test_loss
    [nats], mean, sd."""
    below = means[(means["seeds"] > 1) & ~(means["mean"] > means["sd"])]
    if len(below):
        one = below.iloc[0]
        raise ValueError(
            f"mean {one['mean']:g} does not exceed its standard deviation {one['sd']:g}; such points have no logarithm"
        )
    rows = []
    for its in means.to_dict("records"):
        n = int(its["seeds"])
        off = np.linspace(-1.0, 1.0, n) if n > 1 else np.zeros(1)
        scale = its["sd"] / off.std(ddof=1) if n > 1 else 0.0
        seeds = 1000 * int(its["patch"]) + np.arange(n)
        of = (its["backbone"], its["patch"])
        losses = its["mean"] + scale * off
        rows += [(*of, seed, loss, its["mean"], its["sd"]) for seed, loss in zip(seeds, losses, strict=True)]
    return pd.DataFrame(rows, columns=["backbone", "patch", "seed", "test_loss", "mean", "sd"])
