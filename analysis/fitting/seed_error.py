"""Error of one seed: the standard deviation of log y among the points of one x, and whether it differs between x."""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from analysis.fitting.result import Fit
from analysis.fitting.weights import FEWEST_SEEDS, places, squares_about_means


def seed_error(law: Fit) -> tuple[float, int]:
    """The standard deviation of log y among points of one x (seeds), pooled, and its degrees of freedom; nan, 0 where
    no two points share an x."""
    frame = pd.DataFrame({"place": places(law.problem.z_VN), "log": np.log(law.y)})
    off = frame["log"] - frame.groupby("place")["log"].transform("mean")
    df = len(frame) - frame["place"].nunique()
    return (math.sqrt(float((off**2).sum()) / df), df) if df else (math.nan, 0)


class UnequalVariance(NamedTuple):
    """Bartlett's test of equal variance between seeds at every x."""

    low: float  # smallest and largest standard deviation of log y among points of one x [1]
    high: float
    p: float  # probability of such a difference by chance [1]


def uneven_seeds(law: Fit) -> UnequalVariance | None:
    """Whether the spread between seeds differs between x (Bartlett 1937, Proc. R. Soc. A 160). None where some x has
    fewer than FEWEST_SEEDS points."""
    place_N = places(law.problem.z_VN)
    count_P = np.bincount(place_N)
    if count_P.min() < FEWEST_SEEDS or len(count_P) < 2:
        return None
    df_P = count_P - 1
    variance_P = np.maximum(squares_about_means(place_N, np.log(law.y)) / df_P, 1e-300)
    df, P = df_P.sum(), len(df_P)
    against = df * math.log(np.sum(df_P * variance_P) / df) - float(np.sum(df_P * np.log(variance_P)))
    against /= 1 + (float(np.sum(1 / df_P)) - 1 / df) / (3 * (P - 1))
    p = float(chdtrc(P - 1, max(against, 0.0)))
    return UnequalVariance(math.sqrt(variance_P.min()), math.sqrt(variance_P.max()), p)
