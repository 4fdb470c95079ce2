"""Seed noise: the spread between runs that differ in the seed alone, and whether a difference of means exceeds it.

One rule: a difference exceeds seed noise where it lies outside the 95 % interval of Student's t around 0
(`exceeds_noise`). Between runs of one recipe the standard error is that of the test that `difference` chooses; against
a published number it is that of `noise_of`.
"""

import itertools
import math
from pathlib import Path
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

    @property
    def verdict(self) -> str:
        """For losses: whether the second is "better" or "worse", or "undecided"."""
        if not exceeds_noise(self.mean, (self.high - self.low) / 2):
            return "undecided"
        return "better" if self.mean < 0 else "worse"


def difference(first: pd.Series, second: pd.Series, spread: float = math.nan, df: int = 0) -> Difference:
    """Whether two sets of runs differ in their mean, by Student's t test.

    first, second: losses by seed.  Paired where both have the same two or more seeds; else Welch's test; where one of
    them is a single run, with the other's variance.  spread, df: between seeds of other runs of the same recipe, for
    two single runs. No test where seeds do not differ at all.
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
    if df:
        return _student(
            mean, spread * math.sqrt(2), df, "t test of single runs, with the spread between other seeds", level
        )
    return Difference(mean, math.nan, math.nan, math.nan, 0, "")


def _student(mean: float, error: float, df: float, test: str, level: float) -> Difference:
    """level: magnitude of the means; errors that are rounding relative to it allow no test."""
    if not error > ROUNDING * abs(level):
        return Difference(mean, math.nan, math.nan, math.nan, 0, "")
    reach = float(critical_t(df)) * error
    p = 2 * float(stdtr(df, -abs(mean) / error))
    return Difference(mean, mean - reach, mean + reach, p, df, test)


def steps(runs: pd.DataFrame, column: str = "test_loss") -> pd.DataFrame:
    """A test of every step to the next smaller patch: a row per step, from coarse to fine.

    runs: one group's, finished.  Columns: coarse, fine [px], difference, low, high (95 % interval) in the units of the
    column, p, p_holm (adjusted for the number of steps: Holm 1979, Scand. J. Statist. 6), df, test, verdict."""
    by_seed = {float(str(patch)): its.set_index("seed")[column] for patch, its in runs.groupby("patch")}
    patches = sorted(by_seed, reverse=True)
    spread = seed_study(runs["group"].iloc[0])
    rows = []
    for coarse, fine in itertools.pairwise(patches):
        pooled = seed_spread(spread[spread["patch"].isin([coarse, fine])])
        known = (
            (pooled["spread"].iloc[0], pooled["df"].iloc[0]) if column == "test_loss" and len(pooled) else (math.nan, 0)
        )
        found = difference(by_seed[coarse], by_seed[fine], *known)
        rows.append([coarse, fine, found.mean, found.low, found.high, found.p, found.df, found.test, found.verdict])
    table = pd.DataFrame(rows, columns=["coarse", "fine", "difference", "low", "high", "p", "df", "test", "verdict"])
    table.insert(6, "p_holm", holm(table["p"]))
    return table


def holm(p: pd.Series) -> pd.Series:
    """p values adjusted for their number (Holm 1979, Scand. J. Statist. 6); nan, where there is no test, stays nan."""
    order = p.rank(method="first") - 1
    by_p = (p * (p.notna().sum() - order)).clip(upper=1)
    return by_p.iloc[p.argsort()].cummax().reindex(p.index).where(p.notna())


def seed_sentence(runs: pd.DataFrame) -> str:
    """Whether the smallest patch still reduces the loss, by a test between the two smallest patches, as a clause:
    the difference of the mean losses and half its 95 % interval [nats].

    runs: one group's, finished. With one seed per patch size the spread is that of the shipped seed study
    (analysis/measured/seeds.csv), where it contains this group."""
    smallest = sorted(runs["patch"].unique())[:2]
    if len(smallest) < 2:
        return "one patch size"
    last = runs[runs["patch"].isin(smallest)]
    step = steps(last).iloc[0]
    which = f"{smallest[0]} vs {smallest[1]} px {step.verdict}, {_signed(step.difference)}"
    if not step.test:
        single = last["patch"].value_counts().max() == 1
        return f"{which} ({'one seed; add --seeds 0,1,2' if single else 'seeds of one patch size do not differ'})"
    p = "p < 0.001" if step.p < 0.001 else f"p {step.p:.2g}"
    half = _signed((step.high - step.low) / 2)[1:]
    return f"{which} ± {half}, {p} ({step.test.replace(' t test', ' t')})"


def _signed(value: float) -> str:
    """Three decimals, or two significant digits where these would show none."""
    return f"{value:+.3f}" if value == 0 or abs(value) >= 5e-3 else f"{value:+.2g}"


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


def seed_study(group: str) -> pd.DataFrame:
    """Shipped runs of a group at several seeds, for the spread of single runs. Columns: group, backbone, patch, seed,
    test_loss [nats], measured (date), machine. Empty where the group is not in it: the spread depends on the recipe."""
    study = pd.read_csv(Path(__file__).parents[1] / "measured" / "seeds.csv")
    return study[study["group"] == group]
