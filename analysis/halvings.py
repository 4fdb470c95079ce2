"""Halvings: whether each halving of the patch changes the loss by more than seeds do, and how many tests that took.

A halving is tested by Welch's t-test (Welch 1947, Biometrika 34), which asks nothing of the spreads being alike. All
halvings of one table are tested together: p-values are Holm's (Holm 1979, Scandinavian Journal of Statistics 6), each
what an error anywhere in the table would cost. Means and standard deviations are all that it needs.
"""

import math

import numpy as np
import pandas as pd
from scipy.special import stdtr

LEVEL = 0.05


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds: backbone, patch [px], seeds, mean, sd [nats] (nan for one seed). frame: runs that finished,
    with backbone, patch and test_loss."""
    by = frame.groupby(["backbone", "patch"], sort=False)["test_loss"]
    found = by.agg(["count", "mean", "std"]).rename(columns={"count": "seeds", "std": "sd"}).reset_index()
    return found.sort_values("patch", ascending=False, kind="stable", ignore_index=True)


def halvings(means: pd.DataFrame) -> pd.DataFrame:
    """Every step to the next smaller patch of every backbone, and from its largest patch to its smallest that has
    several seeds: backbone, before, after [px], gain [nats] (above 0: the smaller patch is better), p (two-sided), holm
    (corrected for all tests of the table), verdict.  means: of summary. Steps with a single seed at an end have no p
    and are not counted among the tests."""
    rows = []
    for backbone, its in means.groupby("backbone", sort=False):
        its = its.sort_values("patch", ascending=False)
        ends = list(zip(its.iloc[:-1].to_dict("records"), its.iloc[1:].to_dict("records"), strict=True))
        several = its[its["seeds"] > 1].to_dict("records")
        if len(several) > 2:
            ends.append((several[0], several[-1]))
        for before, after in ends:
            p = _welch(before, after)
            rows.append((backbone, before["patch"], after["patch"], before["mean"] - after["mean"], p))
    frame = pd.DataFrame(rows, columns=["backbone", "before", "after", "gain", "p"])
    frame["holm"] = holm(frame["p"])
    frame["verdict"] = [_verdict(gain, p) for gain, p in frame[["gain", "holm"]].to_numpy()]
    return frame


def holm(p: pd.Series) -> pd.Series:
    """p-values corrected for as many tests as there are numbers; nan stays nan."""
    known = p.dropna().sort_values()
    factors = np.arange(len(known), 0, -1)
    return np.minimum(np.maximum.accumulate(known * factors), 1.0).reindex(p.index)


def _welch(one: dict, other: dict) -> float:
    """Two-sided p of equal means; nan where one of them has one seed."""
    if min(one["seeds"], other["seeds"]) < 2:
        return math.nan
    a, b = (its["sd"] ** 2 / its["seeds"] for its in (one, other))
    df = (a + b) ** 2 / (a**2 / (one["seeds"] - 1) + b**2 / (other["seeds"] - 1))
    return float(2 * stdtr(df, -abs(one["mean"] - other["mean"]) / math.sqrt(a + b)))


def _verdict(gain: float, p: float) -> str:
    if math.isnan(p):
        return "not tested, one seed"
    if p >= LEVEL:
        return "undecided"
    return "better" if gain > 0 else "worse"


def as_points(means: pd.DataFrame) -> pd.DataFrame:
    """Points with the same means and standard deviations, for a fit by least squares, which asks for no more: mean - sd,
    mean, mean + sd for three seeds.  means: of summary.  Columns: backbone, patch, seed, test_loss."""
    rows = []
    for its in means.to_dict("records"):
        n = int(its["seeds"])
        off = np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
        off = off / off.std(ddof=1) * its["sd"] if n > 1 else off
        rows += [(its["backbone"], its["patch"], seed, its["mean"] + step) for seed, step in enumerate(off)]
    return pd.DataFrame(rows, columns=["backbone", "patch", "seed", "test_loss"])
