"""Differences of the studies of positions and embeddings: paired over the seeds that both sides have, with the 95 %
interval of Student's t. With fewer than FEWEST seeds, or where all differences are equal, there is no interval, and so
no verdict."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from analysis.claims.verdict import Estimate
from analysis.records.patch_tests import holm
from analysis.records.seed_noise import CONFIDENCE, Difference, critical_t, difference

FEWEST = 3  # seeds


def compare(first: pd.Series, second: pd.Series) -> Difference:
    """Second minus first, both by seed, and its test."""
    seeds = first.index.intersection(second.index)
    if len(seeds) < FEWEST:
        mean = float((second[seeds] - first[seeds]).mean()) if len(seeds) else math.nan
        return Difference(mean, math.nan, math.nan, math.nan, 0, "")
    return difference(first[seeds], second[seeds])


def paired(what: str, first: pd.Series, second: pd.Series) -> Estimate:
    """Second minus first, both by seed."""
    found = compare(first, second)
    return Estimate(what, found.mean, found.low, found.high)


def mean_of(what: str, values: pd.Series) -> Estimate:
    """The mean of a value per seed."""
    return paired(what, pd.Series(0.0, values.index), values)


def geometric_mean_of(what: str, values: pd.Series) -> Estimate:
    """The geometric mean of a value above 0 per seed. Where a seed has none (nan), that of the others, and no
    interval."""
    found = mean_of(what, np.log(values.dropna()))
    if values.isna().any():
        found = found._replace(low=math.nan, high=math.nan)
    return Estimate(what, *(math.exp(end) for end in found[1:]))


def with_holm(found: Mapping[str, Difference]) -> dict[str, Estimate]:
    """Differences of one family by name, with intervals by Holm's correction: each is that of the confidence at which
    it leaves out 0 exactly where the adjusted p is below 0.05 (by itself, if its p is not changed)."""
    p = pd.Series({name: one.p for name, one in found.items()}, dtype=float)
    factor = (holm(p) / p).fillna(len(p))  # 0 over 0: of a p too small to be written
    return {name: _at(name, one, (1 - CONFIDENCE) / float(factor[name])) for name, one in found.items()}


def widened(what: str, found: Difference, tests: int) -> Estimate:
    """A difference that was chosen among as many, with Bonferroni's correction."""
    return _at(what, found, (1 - CONFIDENCE) / tests)


def _at(what: str, found: Difference, level: float) -> Estimate:
    """The interval that leaves out the mean in this share of cases [1]."""
    if not found.test:
        return Estimate(what, found.mean, math.nan, math.nan)
    error = (found.high - found.low) / 2 / float(critical_t(found.df))
    reach = float(stdtrit(found.df, 1 - level / 2)) * error
    return Estimate(what, found.mean, found.mean - reach, found.mean + reach)
