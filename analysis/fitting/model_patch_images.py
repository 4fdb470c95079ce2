"""L(N, p, D): loss by parameters N [1], patch side p [px] and images seen D, from finished runs.

Two forms with seven parameters each, of which AICc selects one, as analysis/planning/allocation.py does for the paper:
    additive  E + A N^-a + B p^b + C D^-c    each axis has a term of its own (arXiv 2203.15556, section 3.3)
    surface   A N^-a D^-c (1 + B p^b N^-d D^-e)    the gain of a smaller patch depends on model and length
On Tables 1 and 4 of arXiv 2502.03738, with image size in the place of D, the second describes the points better. The
paper has no law in D, so neither is assumed. Every point is a run of its own, so that the parametric bootstrap of
analysis/fitting/bootstrap.py draws whole runs.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.fitting.bootstrap import Bootstrap, bootstrap
from analysis.fitting.laws import Fit, fit3

AT = ("parameters", "patch", "images")
CANDIDATES = ("additive", "surface")
FEWEST = 3  # values of each variable: a floor, a coefficient and an exponent per term
NAMES = {"parameters": "model size", "patch": "patch size", "images": "length"}


class SizeLaw(NamedTuple):
    """The selected law, its refits, and its points (columns AT, y, model, flops_per_image, training_flops)."""

    law: Fit
    draws: Bootstrap
    points: pd.DataFrame


class LargestHeldOut(NamedTuple):
    """Root mean square relative errors [1] of predictions of the largest model, left out of the fit."""

    model: str
    law: float
    last: float  # rule: the loss of the next smaller model
    half: float  # rule: that, less half of the last gain


def fit_sizes(points: pd.DataFrame, draws: int = 1000, seed: int = 0) -> SizeLaw:
    """Fit L(N, p, D) to the rows of size_points of one family. Raises ValueError where there are too few sizes,
    patches, lengths or runs."""
    for name, word in NAMES.items():
        if (number := points[name].nunique()) < FEWEST:
            raise ValueError(f"{number} {word}{'s' * (number != 1)}, and {FEWEST} are needed")
    law = min((_fit(points, form) for form in CANDIDATES), key=lambda law: law.aicc)
    return SizeLaw(law, bootstrap(law, draws=draws, seed=seed), points)


def hold_out_largest(found: SizeLaw) -> LargestHeldOut | None:
    """The error of the law without the largest model there; None with fewer than FEWEST + 1 models, or where no smaller
    models were run with the same patch size and length."""
    points = found.points
    sizes = sorted(points["parameters"].unique())
    if len(sizes) <= FEWEST:
        return None
    out = points[points["parameters"] == sizes[-1]]
    means = points.groupby(["patch", "images", "parameters"])["y"].mean().unstack()
    means = means[sizes[-3:]].dropna()
    if means.empty:
        return None
    law = _fit(points.drop(out.index), found.law.form)
    patch, images = (means.index.get_level_values(name).to_numpy(float) for name in ("patch", "images"))
    before, last, measured = (means[size].to_numpy(float) for size in sizes[-3:])
    predicted = law.predict(np.full(len(means), sizes[-1]), patch, images)
    rules = (predicted, last, np.maximum(last - (before - last) / 2, 0.0))
    errors = [float(np.sqrt(np.mean((rule / measured - 1) ** 2))) for rule in rules]
    return LargestHeldOut(str(out["model"].iloc[0]), *errors)


def _fit(points: pd.DataFrame, form: str) -> Fit:
    N, p, D = (points[name] for name in AT)
    return fit3(N, p, D, points["y"], form)
