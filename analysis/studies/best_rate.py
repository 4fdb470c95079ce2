"""Best learning rate: where the loss on held-out images is lowest, with a confidence interval.

A parabola of log loss in log2 of the learning rate, fitted to the best rate and its two neighbours, with one seed to
five rates, since three leave no degree of freedom; farther rates do not lie on the parabola. Every seed has a level of
its own, since its order of images is the same at all rates. The interval is Fieller's (1954,
J. R. Statist. Soc. B 16): the rates at which the slope of the parabola does not differ from 0. Where its curvature does
not differ from 0 either, the interval has one end or none.
Letters: N runs, K parameters.
"""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

FEWEST = 3  # rates that a parabola needs
FARTHEST = 10.0  # doublings from the best trained rate beyond which an interval has no end
OF_ONE_SEED = 5  # rates that are used where there is one seed


class BestRate(NamedTuple):
    """The learning rate of lowest loss. rate, low, high [1]."""

    picked: float  # the trained rate of lowest mean loss
    rate: float  # of the parabola's minimum; nan where there is none
    low: float  # interval; 0 and inf where it has no end
    high: float
    edge: str  # "lowest" or "highest" where picked is at that end of the trained rates; else ""


def best_rate(runs: pd.DataFrame, confidence: float = 0.95) -> BestRate:
    """The best rate of one patch size. runs: columns lr [1], seed, val_loss > 0 [nats].

    Seeds that lack a rate others have are left out where any seed has all of them, so that rates compare alike."""
    runs = runs[runs["val_loss"] > 0].assign(y=lambda its: np.log(its["val_loss"]))
    table = runs.pivot_table(index="lr", columns="seed", values="y").sort_index()
    table = table.dropna(axis=1) if table.notna().all().any() else table
    rates, mean = table.index.to_numpy(float), table.mean(axis=1).to_numpy(float)
    at = int(np.argmin(mean))
    edge = "" if 0 < at < len(rates) - 1 else "lowest" if at == 0 else "highest"
    many = min(len(rates), FEWEST if table.shape[1] > 1 else OF_ONE_SEED)
    first = min(max(0, at - many // 2), len(rates) - many)
    near = table.iloc[first : first + many]
    middle = math.log2(rates[at])
    tidy = near.stack()
    x_N = np.log2(tidy.index.get_level_values("lr").to_numpy(float)) - middle
    vertex, low, high = minimum(x_N, tidy.to_numpy(float), tidy.index.get_level_values("seed").to_numpy(), confidence)
    low, high = low if low > -FARTHEST else -math.inf, high if high < FARTHEST else math.inf
    found, least, most = (float(np.exp2(middle + exponent)) for exponent in (vertex, low, high))
    return BestRate(float(rates[at]), found, least, most, edge)


def minimum(x_N: np.ndarray, y_N: np.ndarray, seed_N: np.ndarray, confidence: float) -> tuple[float, float, float]:
    """The minimum of y = level of the seed + b x + c x^2, and Fieller's interval: vertex, low, high, in the unit of x.
    vertex nan where c <= 0 or with fewer than FEWEST distinct x; an end that does not exist is infinite. That c is
    above 0 in truth is assumed."""
    if len(np.unique(x_N)) < FEWEST:
        return math.nan, -math.inf, math.inf
    levels_NS = (seed_N[:, None] == np.unique(seed_N)).astype(float)
    design_NK = np.column_stack([x_N, x_N**2, levels_NS])
    theta_K, *_ = np.linalg.lstsq(design_NK, y_N, rcond=None)
    b, c = theta_K[:2]
    vertex = -b / (2 * c) if c > 0 else math.nan
    df = len(y_N) - design_NK.shape[1]
    if df <= 0:
        return vertex, -math.inf, math.inf
    variance = float(np.sum((y_N - design_NK @ theta_K) ** 2)) / df
    ((bb, bc), (_, cc)) = variance * np.linalg.inv(design_NK.T @ design_NK)[:2, :2]
    t2 = float(stdtrit(df, (1 + confidence) / 2)) ** 2
    # the slope b + 2 c x has the variance bb + 4 bc x + 4 cc x^2; it does not differ from 0 where its square is at most
    # t2 times that: where square x^2 + linear x + constant <= 0
    square, linear, constant = 4 * (c * c - t2 * cc), 4 * (b * c - t2 * bc), b * b - t2 * bb
    root = math.sqrt(max(linear * linear - 4 * square * constant, 0.0))
    if not root or (square >= 0 and c <= 0):
        return vertex, -math.inf, math.inf
    first, second = sorted(((-linear - root) / (2 * square), (-linear + root) / (2 * square)))
    if square > 0:
        return vertex, first, second
    # two rays, with a slope of one sign between them: where it rises, a minimum can only be on the left one
    rises = b + c * (first + second) > 0
    return (vertex, -math.inf, first) if rises else (vertex, second, math.inf)


def common_rates(best: list[BestRate]) -> tuple[float, float]:
    """The rates in the intervals of all patch sizes, low and high; low > high where there are none. With intervals of
    confidence 1 - (1 - C) / P for P patch sizes there are some in C of all cases or more where one rate is best for
    all of them (Bonferroni)."""
    return max(one.low for one in best), min(one.high for one in best)
