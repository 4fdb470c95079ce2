"""Seeds: how far runs lie apart that differ in nothing else, and whether a smaller patch gains more than that."""

import math

import pandas as pd

from analysis.output import counted
from analysis.runs import seed_study


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
    verdict = "better" if step <= 0 else "worse"
    return f"{sentence}: {verdict} by {'more' if abs(step) > spread.spread else 'no more'} than the spread"
