"""Patch tests: whether each smaller patch size has a lower loss than the next larger one, with the power of the test.

The test is of log loss, so a change is relative: Student's t, paired where both patch sizes have the same seeds, else
Welch's (analysis/records/seed_noise.py). An exact sign-flip test stands beside a paired one: it needs no normal
distribution, but n seeds allow no p below 2 / 2^n. Verdicts are by p values adjusted for the number of steps (Holm).
"""

import itertools
import math

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import stdtrit

from analysis.records.seed_noise import CONFIDENCE, Difference, critical_t, difference

POWER = 0.8  # share of cases in which a change of the size `detectable` is found [1]
MOST_FLIPPED = 13  # seeds, 8,192 sign flips; with more, the t test needs no exact one beside it
COLUMNS = ["coarse", "fine", "change", "low", "high", "p", "p_holm", "p_exact", "detectable", "test", "verdict"]


def patch_tests(points: pd.DataFrame) -> pd.DataFrame:
    """A test of every step to the next smaller patch size: a row per step, from coarse to fine.

    points: one group's, with patch [px], seed and y > 0, y the loss.  Columns: coarse, fine [px]; change, low, high, of
    the loss relative to the coarse one's, with its 95 % interval [1]; p, p_holm; p_exact, of the sign-flip test (nan
    where unpaired); detectable, the decrease that is found in 80 % of cases or more [1]; test; verdict: better, worse,
    undecided or untested. nan where the seeds allow no test."""
    log_of = {float(str(patch)): np.log(its.set_index("seed")["y"]) for patch, its in points.groupby("patch")}
    pairs = list(itertools.pairwise(sorted(log_of, reverse=True)))
    rows = []
    for coarse, fine in pairs:
        first, second = log_of[coarse], log_of[fine]
        found = log_difference(first, second)
        ends = [math.expm1(value) for value in (found.mean, found.low, found.high)]
        paired = found.test.startswith("paired")
        exact = sign_flip_p(second - first.loc[second.index]) if paired else math.nan
        found_in = detectable(found.low, found.high, found.df, len(pairs)) if found.test else math.nan
        rows.append([coarse, fine, *ends, found.p, math.nan, exact, found_in, found.test, ""])
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["p_holm"] = holm(table["p"])
    decided = table["p_holm"] < 1 - CONFIDENCE
    table["verdict"] = np.where(table["change"] < 0, "better", "worse")
    table["verdict"] = table["verdict"].where(decided, "undecided").where(table["test"] != "", "untested")
    return table


def with_verdicts(table: pd.DataFrame, among: str | list[str]) -> pd.DataFrame:
    """The table with p_holm, for the number of tests among rows of equal `among`, and verdict: better, worse, undecided
    or untested. table: change (of a loss) and p."""
    p_holm = table.groupby(among, group_keys=False)["p"].apply(holm)
    signs = pd.Series(np.where(table["change"] < 0, "better", "worse"), table.index)
    verdict = signs.where(p_holm < 1 - CONFIDENCE, "undecided").where(table["p"].notna(), "untested")
    return table.assign(p_holm=p_holm, verdict=verdict)


def holm(p: pd.Series) -> pd.Series:
    """p values adjusted for their number (Holm 1979, Scand. J. Statist. 6); nan, where there is no test, stays nan."""
    order = p.rank(method="first") - 1
    by_p = (p * (p.notna().sum() - order)).clip(upper=1)
    return by_p.iloc[p.argsort()].cummax().reindex(p.index).where(p.notna())


def log_difference(first: pd.Series, second: pd.Series) -> Difference:
    """The difference of the mean log losses and its test. first, second: log losses by seed."""
    # About 1: errors that are rounding are recognised relative to the magnitude, and that of log y can be 0.
    return difference(1 + first - first.mean(), 1 + second - first.mean())


def sign_flip_p(differences: pd.Series) -> float:
    """The two-sided p value of the exact sign-flip test of a mean of 0 [1]: the share of all 2^n choices of signs whose
    mean is as far from 0. nan for more than MOST_FLIPPED differences."""
    if len(differences) > MOST_FLIPPED:
        return math.nan
    from scipy.stats import permutation_test  # half a second, which laws of single seeds do not need

    values = differences.to_numpy(float)
    return float(permutation_test((values,), np.mean, permutation_type="samples", n_resamples=2**MOST_FLIPPED).pvalue)


def power(shift: float, df: float, level: float) -> float:
    """The probability that a two-sided t test of this level finds a difference of `shift` standard errors [1]."""
    from scipy.stats import nct

    critical = stdtrit(df, 1 - level / 2)
    return float(nct.sf(critical, df, shift) + nct.sf(critical, df, -shift))  # nct.cdf(-critical, ...) can be nan


def detectable(low: float, high: float, df: float, tests: int) -> float:
    """The relative decrease of the loss that a test finds with a probability of POWER or more [1], if the spread
    between seeds is the one found.

    low, high: 95 % interval of the difference of log loss; it has the standard error.  df: degrees of freedom.  tests:
    their number; the level is that of Holm's strictest test, so another of them finds as small a decrease more
    often."""
    error = (high - low) / 2 / float(critical_t(df))
    level = (1 - CONFIDENCE) / tests
    most = 3.0 * float(stdtrit(df, 1 - level / 2)) + 3.0
    while power(most, df, level) < POWER:
        most *= 2
    shift = brentq(lambda shift: power(shift, df, level) - POWER, 0.0, most)
    return -math.expm1(-shift * error)
