"""Seed noise: the spread between runs that differ in the seed alone, and whether a difference of means exceeds it.

One rule: a difference exceeds seed noise where it lies outside the 95 % interval of Student's t around 0
(`exceeds_noise`). Between runs of one recipe the standard error is that of the test that `difference` chooses; against
a published number it is that of `noise_of`.
"""

import math
from typing import NamedTuple, TypeVar, cast, overload

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

CONFIDENCE = 0.95
ROUNDING = 1e-12  # of a loss [1]
Numbers = TypeVar("Numbers", float, pd.Series)  # one, or a column


def seed_spread(frame: pd.DataFrame, column: str = "test_loss") -> pd.DataFrame:
    """The standard deviation between seeds, a row per group.
    frame: finished runs with group, patch and the column.  Returns group, spread in the units of the column (standard
    deviation over seeds, pooled over patch sizes; nan where no patch size has two seeds), df (its degrees of freedom)
    and seeds (the largest number per patch size)."""
    rows = []
    for group, runs in frame.dropna(subset=[column]).groupby("group", sort=False):
        of_patch = runs.groupby("patch")[column]
        squares = float(((runs[column] - of_patch.transform("mean")) ** 2).sum())
        df = len(runs) - runs["patch"].nunique()
        spread = math.sqrt(squares / df) if df else math.nan
        rows.append({"group": group, "spread": spread, "df": df, "seeds": int(of_patch.count().max())})
    return pd.DataFrame(rows, columns=["group", "spread", "df", "seeds"])


class Difference(NamedTuple):
    """A difference of two means, and its test against seed noise."""

    mean: float  # second minus first
    low: float  # 95 % interval; nan where the seeds allow no test
    high: float
    p: float  # two-sided [1]
    df: float  # degrees of freedom [1]
    test: str  # name of the test; "" where there is none


def difference(first: pd.Series, second: pd.Series) -> Difference:
    """Whether two sets of runs differ in their mean, by Student's t test.

    first, second: losses by seed.  Paired where both have the same two or more seeds; else Welch's test; where one of
    them is a single run, with the other's variance. No test of two single runs, and where seeds do not differ at all.
    False positives: 5 in 100 or fewer (tests/analysis/test_seeds_are_tested.py)."""
    n, m, mean, level = len(first), len(second), float(second.mean() - first.mean()), float(first.mean())
    if n == m > 1 and first.index.is_unique and first.index.sort_values().equals(second.index.sort_values()):
        off = second - first.loc[second.index]
        return _student(mean, float(off.std()) / math.sqrt(n), n - 1, f"paired t test, {n} seeds", level)
    if n > 1 and m > 1:
        parts = float(first.var()) / n, float(second.var()) / m
        bound = parts[0] ** 2 / (n - 1) + parts[1] ** 2 / (m - 1)
        welch = sum(parts) ** 2 / bound if bound else float(min(n, m) - 1)
        return _student(mean, math.sqrt(sum(parts)), welch, f"Welch's t test, {n} and {m} runs", level)
    if n + m > 2:
        several = first if n > 1 else second
        error = float(several.std()) * math.sqrt(1 / n + 1 / m)
        return _student(
            mean, error, len(several) - 1, f"t test, {n} and {m} runs, the variance of the {len(several)}", level
        )
    return Difference(mean, math.nan, math.nan, math.nan, 0, "")


def _student(mean: float, error: float, df: float, test: str, level: float) -> Difference:
    """level: magnitude of the means; errors that are rounding relative to it allow no test."""
    if not error > ROUNDING * abs(level):
        return Difference(mean, math.nan, math.nan, math.nan, 0, "")
    reach = float(critical_t(df)) * error
    p = 2 * float(stdtr(df, -abs(mean) / error))
    return Difference(mean, mean - reach, mean + reach, p, df, test)


def noise_of(spread: Numbers, df: Numbers, runs: Numbers, others: float = 1) -> Numbers:
    """The half width of the 95 % interval of a difference of two means under seed noise alone, for an own mean and a
    published number. Without a true difference it is exceeded in 1 of 20 cases.

    spread: standard deviation between seeds, pooled over patch sizes, with df degrees of freedom; runs, others: number
    of runs behind each mean.  It is t spread sqrt(1/runs + 1/others), t of Student's distribution; nan for df 0. A
    published number is taken as one run with the same spread; its rounding is neglected. Not adjusted for several
    comparisons."""
    return critical_t(df) * spread * np.sqrt(1 / runs + 1 / others)


def critical_t(df: ArrayLike) -> np.ndarray:
    """The two-sided critical value of Student's t at CONFIDENCE [1]."""
    return stdtrit(np.asarray(df, float), (1 + CONFIDENCE) / 2)


@overload
def exceeds_noise(difference: float, noise: float) -> bool: ...
@overload
def exceeds_noise(difference: pd.Series, noise: pd.Series) -> "pd.Series[bool]": ...
def exceeds_noise(difference: float | pd.Series, noise: float | pd.Series) -> "bool | pd.Series[bool]":
    """Whether a difference exceeds the half width of its interval under seed noise alone. False where noise is nan."""
    return abs(cast(pd.Series, difference)) > noise  # of one number in the same way
