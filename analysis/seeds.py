"""Seeds: how far runs lie apart that differ in nothing else, and whether a difference is more than that."""

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from analysis.output import counted
from analysis.runs import seed_study

CONFIDENCE = 0.95


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


def seed_sentence(runs: pd.DataFrame) -> str:
    """Whether the smallest patch still helps, beside how far seeds lie apart at the two smallest patches.

    runs: one group's, finished. With one seed a patch the spread is that of the seed study that is shipped
    (analysis/measured/seeds.csv), where it has this very group."""
    means = runs.groupby("patch")["test_loss"].mean().sort_index()
    smallest = list(means.index[:2])
    step = means.iloc[0] - means.iloc[1] if len(means) >= 2 else 0.0
    sentence = f"patch {smallest[0]} vs {smallest[1]}: {step:+.4f} nats, " if len(means) >= 2 else ""
    whence = ""
    found = seed_spread(runs[runs["patch"].isin(smallest)])
    if not found["df"].sum():
        study = seed_study(runs["group"].iloc[0])
        study = study[study["patch"].isin(smallest)]
        found = seed_spread(study)
        if not found["df"].sum():
            return sentence + "seed-to-seed spread: not measured, one seed a patch; add --seeds 0,1,2"
        whence = f"; measured {study['measured'].iloc[0]}, {study['machine'].iloc[0]}"
    spread = found.iloc[0]
    seeds = f"{counted(int(spread.seeds), 'seed')}, {spread.df} degrees of freedom{whence}"
    sentence += f"seed-to-seed spread {spread.spread:.4f} ({seeds})"
    if len(means) < 2:
        return sentence
    runs_of = runs[runs["patch"].isin(smallest)].groupby("patch")["test_loss"].count()
    noise = float(noise_of(spread.spread, spread.df, runs_of[smallest[0]], runs_of[smallest[1]]))
    verdict = "better" if step <= 0 else "worse"
    where = "beyond" if abs(step) > noise else "within"
    return f"{sentence}: {verdict}, {where} the 95 % interval of seeds alone ({noise:.4f})"


def noise_of(spread: Any, df: Any, runs: Any, others: Any = 1) -> Any:
    """The half width of the 95 % interval of a difference of two means from seeds alone: this project's one rule for
    whether a difference says anything. A difference beyond it is one that seeds alone make in 1 of 20 cases.

    spread: standard deviation from seed to seed, pooled over patch sizes, with df degrees of freedom; runs, others:
    those behind each mean.  It is t spread sqrt(1/runs + 1/others), t of Student's distribution; nan for df 0. A
    published number is one run with a seed of its own, which lies as far from what the paper's seeds would give on
    average as any run of one's own lies from that; what it loses in being printed is not in it. Runs of one seed at
    two patch sizes are not taken as a pair, and several differences are each held against it alone."""
    return stdtrit(np.asarray(df, float), (1 + CONFIDENCE) / 2) * spread * np.sqrt(1 / runs + 1 / others)
