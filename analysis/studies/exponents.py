"""Exponents: whether the slope of log loss over log patch size depends on what the runs of a study differ in, such as
the patch embedding or the position encoding.

The slope is a power law without an irreducible loss, for a difference between few runs; laws with one are fitted to the
same runs by analysis/fit_laws.py. Paired over seeds, with Holm's correction for the differences of a backbone.
"""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from analysis.records.groups import FEWEST_PATCHES
from analysis.records.patch_tests import holm
from analysis.records.seed_noise import CONFIDENCE, difference

SLOPES = ["seeds", "alpha", "sd", "change", "low", "high", "p", "p_holm", "verdict"]  # after backbone and what differs


def slopes(table: pd.DataFrame, of: str, plain: str) -> pd.DataFrame:
    """A row per backbone and value of the column `of`, with FEWEST_PATCHES patch sizes or more in every seed: backbone,
    the value, and SLOPES: seeds; alpha, its mean and standard deviation over seeds [1]; change, low, high: the
    difference from that of the value `plain` with its 95 % interval [1]; p, p_holm; verdict: steeper, flatter,
    undecided or untested; of `plain` nan and "".

    table: of runs on equal images, with backbone, patch, seed, test_loss and the column."""
    rows = []
    for backbone, its in table.groupby("backbone", sort=False):
        alphas = {str(name): alphas_of(runs) for name, runs in its.groupby(of, sort=False)}
        usual = alphas.get(plain, pd.Series(dtype=float))
        for name, its_alphas in alphas.items():
            if its_alphas.empty:
                continue
            row = [backbone, name, len(its_alphas), its_alphas.mean(), its_alphas.std()]
            if name == plain or usual.empty:
                rows.append([*row, *[math.nan] * 5, ""])
                continue
            found = difference(usual, its_alphas)
            rows.append([*row, found.mean, found.low, found.high, found.p, math.nan, ""])
    found_rows = pd.DataFrame(rows, columns=["backbone", of, *SLOPES])
    return decided(found_rows, pd.Series("", found_rows.index), "flatter", "steeper")


def alphas_of(runs: pd.DataFrame) -> pd.Series:
    """The exponent by seed. Seeds with fewer than all of the patch sizes are left out."""
    patches = runs["patch"].nunique()
    found = {}
    for seed, its in runs.groupby("seed"):
        if len(its) == patches >= FEWEST_PATCHES:
            found[seed] = float(np.polyfit(np.log(its["patch"]), np.log(its["test_loss"]), 1)[0])
    return pd.Series(found, dtype=float)


def decided(table: pd.DataFrame, families: pd.Series, falls: str, rises: str) -> pd.DataFrame:
    """The table with p_holm and verdict. families: of comparisons that Holm's correction is for, within a backbone.
    falls, rises: words for a decided change below and above 0."""
    table["p_holm"] = table["p"].groupby([table["backbone"], families], group_keys=False).apply(holm)
    signs = pd.Series(np.where(table["change"] < 0, falls, rises), table.index)
    verdicts = signs.where(table["p_holm"] < 1 - CONFIDENCE, "undecided").where(table["p"].notna(), "untested")
    return table.assign(verdict=verdicts.where(table["change"].notna(), ""))


def printed_slopes(found: pd.DataFrame, of: str, plain: str, named: Callable[[str], str] = str) -> pd.DataFrame:
    """One backbone's slopes as text for 80 columns. of, plain: as in slopes; named: how a value is written."""
    ends = zip(found["change"], found["low"], found["high"], strict=True)
    change = ["-" if math.isnan(mean) else f"{mean:+.3f}" + _interval(low, high) for mean, low, high in ends]
    return pd.DataFrame(
        {
            of: found[of].map(named),
            "alpha": [_with_spread(mean, sd) for mean, sd in zip(found["alpha"], found["sd"], strict=True)],
            f"minus that of {plain}": change,
            "verdict": found["verdict"].replace("", "-"),
        }
    )


def slope_sentence(backbone: object, its: pd.DataFrame, of: str, plain: str, named: Callable[[str], str] = str) -> str:
    """The verdicts of one backbone's slopes."""
    others = its[its[of] != plain]
    verdicts = "; ".join(
        f"{named(name)}: {verdict or 'untested'}" for name, verdict in zip(others[of], others["verdict"], strict=True)
    )
    return f"{backbone}, alpha over patch sizes against {plain}: {verdicts}."


def _with_spread(mean: float, sd: float) -> str:
    return f"{mean:.3f}" + ("" if math.isnan(sd) else f" ± {sd:.3f}")


def _interval(low: float, high: float) -> str:
    return "" if math.isnan(low) else f" [{low:+.3f}, {high:+.3f}]"
