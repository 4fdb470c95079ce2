"""Estimates of claims on clipping, warm-up, norms, learning rates and sharpness with fixed and drawn patch sizes, from
stability_shapes.csv, rate_range_shapes.csv and sharpness_drawn_shapes.csv."""

import math
from collections.abc import Callable
from functools import cache

import pandas as pd
from scipy.stats import binomtest

from analysis.claims.measured import NAMES, measured, of_ratio
from analysis.claims.verdict import Estimate
from analysis.studies.rate_range import DRAWN, ranges
from analysis.studies.stability import effects

NO_CLIP = "none"
CLASSES = 3  # of shapes


def change(setting: str) -> list[Estimate]:
    """Change of the test loss by a setting, against that of the recipe, with drawn patch sizes [%]."""
    table = _effects()
    its = table[(table["setting"] == setting) & table["patches"].str.contains(",")]
    return [
        Estimate(f"{NAMES[row['backbone']]}, {setting}", *(100 * row[end] for end in ("change", "low", "high")))
        for row in its.to_dict("records")
    ]


@cache
def _effects() -> pd.DataFrame:
    return effects(measured("stability_shapes"))


def rate_range() -> list[Estimate]:
    """Width of the range of good learning rates with drawn patch sizes less that with a fixed one, clipped as in the
    recipe [octaves]; without an interval where the rates that were tried truncate a range."""
    table = ranges(rate_range_runs())
    its = table[(table["patches"] == DRAWN) & (table["clip"] != NO_CLIP)]
    return [
        Estimate(
            NAMES[row["backbone"]],
            row["octaves"],
            *((math.nan, math.nan) if row["open"] else (row["low"], row["high"])),
        )
        for row in its.to_dict("records")
    ]


def rate_range_runs() -> pd.DataFrame:
    """RUNS of analysis.studies.rate_range, clip as text."""
    return measured("rate_range_shapes").astype({"clip": str})


def sharpness_of_drawn() -> list[Estimate]:
    """Top eigenvalue of the Hessian of the test loss at 4 px, trained with drawn patch sizes over trained at 4 px alone
    [x]."""
    found = []
    for backbone, its in measured("sharpness_drawn_shapes").groupby("backbone", sort=False):
        drawn = its["patches"].str.contains(",")
        fixed_and_drawn = (its[of].set_index("seed")["eigenvalue"] for of in (~drawn, drawn))
        found.append(of_ratio(f"{NAMES[str(backbone)]}, 4 px", *fixed_and_drawn))
    return found


def divergences() -> list[Estimate]:
    """Share of the runs with drawn patch sizes and without clipping whose loss became not finite or ended above that of
    guessing, at all warm-ups and norms, with the exact interval of a binomial share [%]."""
    runs = measured("stability_shapes")
    its = runs[runs["patches"].str.contains(",") & (runs["clip"] == NO_CLIP)]
    found = []
    for backbone, ours in its.groupby("backbone", sort=False):
        diverged = ours["failed"].astype(bool) | (ours["test_loss"] > math.log(CLASSES))
        ends = binomtest(int(diverged.sum()), len(ours)).proportion_ci()
        what = f"{NAMES[str(backbone)]}, {len(ours)} runs"
        found.append(Estimate(what, 100 * float(diverged.mean()), 100 * ends.low, 100 * ends.high))
    return found


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    "batch_norm": lambda: [*change("norm batch"), *change("norm batch_per_patch")],
    "without_clipping": lambda: change("clip none"),
    "without_warmup": lambda: change("warmup 0 %"),
    "rate_range": rate_range,
    "sharpness_of_drawn": sharpness_of_drawn,
    "divergences": divergences,
}
