"""Learning rates: whether the best learning rate depends on the patch size, and what that changes in the law.

Rates are compared by the loss on training images that were held out; test images choose nothing. The test losses at the
chosen rates then give the law twice: one rate for all patch sizes, and for each patch size its own.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.fitting.laws import Fit, fit
from analysis.records.groups import FEWEST_PATCHES
from analysis.report.printfuncs import parameter_text
from analysis.studies.best_rate import FEWEST, BestRate, best_rate, common_rates

CONFIDENCE = 0.95
COLUMNS = ["backbone", "patch", "seeds", "lr_picked", "edge", "lr_best", "lr_low", "lr_high"]
COLUMNS += ["lr_common", "test_loss_common", "test_loss_own"]


class RateStudy(NamedTuple):
    """One backbone's rates."""

    backbone: str
    table: pd.DataFrame  # COLUMNS, a row per patch size, from coarse to fine
    agree: tuple[float, float]  # rates in the intervals of all patch sizes; low > high: none
    resolved: bool  # whether every patch size has an interval with two ends
    laws: dict[str, Fit]  # power law of test loss: "one rate", "own rates"; without those that cannot be fitted


def rate_studies(runs: pd.DataFrame) -> list[RateStudy]:
    """A study per backbone. runs: finished ones with backbone, patch [px], lr, seed, val_loss and test_loss [nats];
    those without a held-out loss are left out. Patch sizes with fewer than FEWEST rates are, too."""
    known = runs[runs["val_loss"] > 0]
    studies = []
    for backbone, its in known.groupby("backbone", sort=False):
        rates = its.groupby("patch")["lr"].nunique()
        its = its[its["patch"].isin(rates[rates >= FEWEST].index)]
        if not its.empty:
            studies.append(_study(str(backbone), its))
    return studies


def _study(backbone: str, runs: pd.DataFrame) -> RateStudy:
    patches = sorted(runs["patch"].unique(), reverse=True)
    by_patch = {patch: runs[runs["patch"] == patch] for patch in patches}
    best = {patch: best_rate(its, CONFIDENCE) for patch, its in by_patch.items()}
    strict = [best_rate(its, 1 - (1 - CONFIDENCE) / len(patches)) for its in by_patch.values()]
    common = _common_rate(runs)
    rows = [_row(backbone, int(patch), by_patch[patch], best[patch], common) for patch in patches]
    chosen = {"one rate": dict.fromkeys(patches, common), "own rates": {p: one.picked for p, one in best.items()}}
    laws = {}
    for name, rate_of in chosen.items():
        its = runs[np.isclose(runs["lr"], runs["patch"].map(rate_of))]
        if its["patch"].nunique() >= FEWEST_PATCHES:
            with suppress(ValueError):  # losses without a law, as equal ones: the sentence about laws is left out
                laws[name] = fit(its["patch"], its["test_loss"], "power")
    resolved = all(math.isfinite(one.high) and one.low > 0 for one in strict)
    return RateStudy(backbone, pd.DataFrame(rows, columns=COLUMNS), common_rates(strict), resolved, laws)


def _common_rate(runs: pd.DataFrame) -> float:
    """The rate of lowest held-out loss for all patch sizes together: of the mean of log loss, patch sizes alike."""
    means = np.log(runs["val_loss"]).groupby([runs["lr"], runs["patch"]]).mean().unstack("patch")
    return float(means.dropna().mean(axis=1).idxmin()) if means.notna().all(axis=1).any() else math.nan


def _row(backbone: str, patch: int, runs: pd.DataFrame, best: BestRate, common: float) -> list[object]:
    tested = runs.groupby("lr")["test_loss"].mean()
    one = float(tested.get(common, math.nan))
    ends = [best.rate, best.low, best.high]
    return [backbone, patch, runs["seed"].nunique(), best.picked, best.edge, *ends, common, one, tested[best.picked]]


def printed(studies: Sequence[RateStudy]) -> pd.DataFrame:
    """The tables as text for 80 columns: best rates with 95 % intervals, the rates that were picked, and test losses at
    one rate for all patch sizes and at the picked ones."""
    table = pd.concat([study.table for study in studies], ignore_index=True)
    change = 100 * (table["test_loss_own"] / table["test_loss_common"] - 1)
    return pd.DataFrame(
        {
            "backbone": table["backbone"],
            "patch\n[px]": table["patch"],
            "best rate\n[1/1000]": list(map(_interval, table["lr_best"], table["lr_low"], table["lr_high"])),
            "picked\n[1/1000]": (1000 * table["lr_picked"]).map("{:.2g}".format),
            "one rate\n[nats]": table["test_loss_common"].map(_loss),
            "own\n[nats]": table["test_loss_own"].map(_loss),
            "change\n[%]": change.map(lambda value: "-" if math.isnan(value) else f"{value:+.1f}"),
        }
    )


def sentences(studies: Sequence[RateStudy]) -> Iterator[str]:
    """For each backbone whether the best rate depends on the patch size, rates at an end, and what the law becomes."""
    for study in studies:
        yield f"{study.backbone}: {_depends(study)}"
        for row in study.table[study.table["edge"] != ""].itertuples():
            way = "lower" if row.edge == "lowest" else "higher"
            yield (
                f"{study.backbone}: at patch {row.patch} the best of the trained rates is the {row.edge}, "
                f"{row.lr_picked:.2g}; the minimum may be {way}: add {way} rates"
            )
        if len(study.laws) == 2:
            one, own = (parameter_text(study.laws[name], "alpha") for name in ("one rate", "own rates"))
            rate = study.table["lr_common"].iloc[0]
            yield (
                f"{study.backbone}: alpha of the power law is {one} with one rate ({rate:.2g}) and {own} with each "
                "patch size's own"
            )


def _depends(study: RateStudy) -> str:
    low, high = study.agree
    patches = len(study.table)
    if patches < 2:
        return "one patch size, nothing to compare"
    if low > high:
        return "the best rate depends on the patch size (no rate is in the intervals of all, 95 % together)"
    some = f"rates from {low:.2g} to {high:.2g} are" if low > 0 and math.isfinite(high) else "some rates are"
    if study.resolved:
        return f"no dependence of the best rate on the patch size is found: {some} in the intervals of all"
    return (
        f"undecided whether the best rate depends on the patch size: {some} in the intervals of all, but these runs do "
        "not determine the best rate of every patch size; add rates or seeds"
    )


def _interval(rate: float, low: float, high: float) -> str:
    low, rate, high = 1000 * low, 1000 * rate, 1000 * high
    if low > 0 and math.isfinite(high):
        return f"{rate:.2g} [{low:.2g}, {high:.2g}]"
    if low > 0:
        return f"at least {low:.2g}"
    return f"at most {high:.2g}" if math.isfinite(high) else "not identified"


def _loss(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"
