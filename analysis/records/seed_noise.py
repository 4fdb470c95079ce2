"""Seeds: how far runs lie apart that differ in nothing else, and tests of whether a difference is more than that."""

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from analysis.records.run_set import seed_study
from analysis.report.output import counted

CONFIDENCE = 0.95
ROUNDING = 1e-12  # of a loss [1]


def seed_spread(frame: pd.DataFrame, column: str = "test_loss") -> pd.DataFrame:
    """How far runs that differ in nothing but the seed lie apart, a row a group.
    frame: finished runs with group, patch and the column.  Returns group, spread in the units of the column (the
    standard deviation over seeds, pooled over patch sizes; nan where no patch size has two seeds), df (its degrees of
    freedom) and seeds (the most that a patch size has)."""
    rows = []
    for group, runs in frame.dropna(subset=[column]).groupby("group", sort=False):
        of_patch = runs.groupby("patch")[column]
        squares = float(((runs[column] - of_patch.transform("mean")) ** 2).sum())
        df = len(runs) - runs["patch"].nunique()
        spread = math.sqrt(squares / df) if df else math.nan
        rows.append({"group": group, "spread": spread, "df": df, "seeds": int(of_patch.count().max())})
    return pd.DataFrame(rows, columns=["group", "spread", "df", "seeds"])


class Difference(NamedTuple):
    """A difference of two means, and what seeds alone may make of it."""

    mean: float  # of the second less that of the first
    low: float  # ends of its 95 % interval; nan where the seeds allow no test
    high: float
    p: float  # two-sided [1]
    df: float  # degrees of freedom [1]
    test: str  # which test; "" where there is none

    @property
    def verdict(self) -> str:
        """Of losses: whether the second is better or worse, or neither can be said."""
        if not self.p < 1 - CONFIDENCE:
            return "undecided"
        return "better" if self.mean < 0 else "worse"


def difference(first: pd.Series, second: pd.Series, spread: float = math.nan, df: int = 0) -> Difference:
    """Whether two sets of runs differ in their mean, by Student's test.

    first, second: losses by seed.  Paired where both have the same seeds, two or more; else Welch's test; where one of
    them has one run, with the other's variance.  spread, df: of the seeds of other runs of the same recipe, for single
    runs. No test where seeds do not differ at all.
    A difference that is none is called one in 5 of 100 cases or fewer (tests/analysis/test_seeds_are_tested.py)."""
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
        return _student(mean, spread * math.sqrt(2), df, "t test of single runs, by the spread of other seeds", level)
    return Difference(mean, math.nan, math.nan, math.nan, 0, "")


def _student(mean: float, error: float, df: float, test: str, level: float) -> Difference:
    """level: of the means themselves, beside which an error may be rounding: then the seeds say nothing."""
    if not error > ROUNDING * abs(level):
        return Difference(mean, math.nan, math.nan, math.nan, 0, "")
    reach = float(stdtrit(df, (1 + CONFIDENCE) / 2)) * error
    p = 2 * float(stdtr(df, -abs(mean) / error))
    return Difference(mean, mean - reach, mean + reach, p, df, test)


def steps(runs: pd.DataFrame, column: str = "test_loss") -> pd.DataFrame:
    """Every step to the next smaller patch, tested: a row a step, from coarse to fine.

    runs: one group's, finished.  Columns: coarse, fine [px], difference, low, high (95 % interval) in the units of the
    column, p, p_holm (of so many steps: Holm 1979, Scand. J. Statist. 6), df, test, verdict (by p alone)."""
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
    order = table["p"].rank(method="first") - 1
    by_p = (table["p"] * (table["p"].notna().sum() - order)).clip(upper=1)
    holm = by_p.iloc[table["p"].argsort()].cummax().reindex(table.index).where(table["p"].notna())
    table.insert(6, "p_holm", holm)
    return table


def seed_sentence(runs: pd.DataFrame) -> str:
    """Whether the smallest patch still helps, by a test of seeds at the two smallest patches.

    runs: one group's, finished. With one seed a patch the spread is that of the seed study that is shipped
    (analysis/measured/seeds.csv), where it has this very group."""
    smallest = sorted(runs["patch"].unique())[:2]
    last = runs[runs["patch"].isin(smallest)]
    found, whence = seed_spread(last), ""
    if not found["df"].sum():
        study = seed_study(runs["group"].iloc[0])
        found = seed_spread(study[study["patch"].isin(smallest)])
        if found["df"].sum():
            whence = f"; measured {study['measured'].iloc[0]}, {study['machine'].iloc[0]}"
    said = "seed-to-seed spread: not measured, one seed a patch; add --seeds 0,1,2"
    if found["df"].sum():
        spread = found.iloc[0]
        seeds = f"{counted(int(spread.seeds), 'seed')}, {counted(int(spread.df), 'degree')} of freedom{whence}"
        said = f"seed-to-seed spread {_signed(spread.spread)[1:]} ({seeds})"
    if len(smallest) < 2:
        return said
    step = steps(last).iloc[0]
    told = f"patch {smallest[0]} vs {smallest[1]}: {_signed(step.difference)} nats"
    if not step.test:
        alike = ": seeds of one patch size do not differ" if found["df"].sum() else ""
        return f"{told}, undecided{alike}; {said}"
    p = "p < 0.001" if step.p < 0.001 else f"p {step.p:.2g}"
    interval = f"95 % interval [{_signed(step.low)}, {_signed(step.high)}]"
    return f"{told}, {interval}, {p} ({step.test}): {step.verdict}; {said}"


def _signed(value: float) -> str:
    """Four decimals; of what they do not show two digits."""
    return f"{value:+.4f}" if value == 0 or abs(value) >= 5e-4 else f"{value:+.2g}"


def noise_of(spread: Any, df: Any, runs: Any, others: Any = 1) -> Any:
    """The half width of the 95 % interval of a difference of two means from seeds alone, as a published number is held
    against one's own. A difference beyond it is one that seeds alone make in 1 of 20 cases.

    spread: standard deviation from seed to seed, pooled over patch sizes, with df degrees of freedom; runs, others:
    those behind each mean.  It is t spread sqrt(1/runs + 1/others), t of Student's distribution; nan for df 0. A
    published number is one run with a seed of its own, which lies as far from what the paper's seeds would give on
    average as any run of one's own lies from that; what it loses in being printed is not in it. Several differences are
    each held against it alone."""
    return stdtrit(np.asarray(df, float), (1 + CONFIDENCE) / 2) * spread * np.sqrt(1 / runs + 1 / others)
