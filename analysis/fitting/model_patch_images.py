"""L(N, p, D): loss by parameters N [1], patch side p [px] and images seen D, from finished runs.

Two forms with seven parameters each, of which AICc selects one, as analysis/planning/allocation.py does for the paper:
    additive  E + A N^-a + B p^b + C D^-c    each axis has a term of its own (arXiv 2203.15556, section 3.3)
    surface   A N^-a D^-c (1 + B p^b N^-d D^-e)    the gain of a smaller patch depends on model and length
On Tables 1 and 4 of arXiv 2502.03738, with image size in the place of D, the second describes the points better. The
paper has no law in D, so neither is assumed. AICc needs ten runs; with fewer the form is additive. With fewer than
FEWEST model sizes one model alone has a law E + A D^-a + B p^b. Every point is a run of its own, so that the parametric
bootstrap of analysis/fitting/bootstrap.py draws whole runs.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.fitting.bootstrap import Bootstrap, bootstrap
from analysis.fitting.laws import Fit, fit2, fit3
from analysis.fitting.minimizer import Array

AT = ("parameters", "patch", "images")
OF_ONE_MODEL = ("images", "patch")
CANDIDATES = ("additive", "surface")
FEWEST = 3  # values of each variable: a floor, a coefficient and an exponent per term
NAMES = {"parameters": "model size", "patch": "patch size", "images": "length"}


@dataclass(frozen=True, eq=False)
class SizeLaw:
    """A law, its points (columns AT, y, model, flops_per_image, training_flops), its variables in order: AT, or
    OF_ONE_MODEL; and how its refits are drawn."""

    law: Fit
    points: pd.DataFrame
    variables: tuple[str, ...]
    resamples: int
    seed: int

    @cached_property
    def draws(self) -> Bootstrap:
        """The refits, made when first needed: for a law that does not describe its points they take many steps."""
        return bootstrap(self.law, draws=self.resamples, seed=self.seed)

    def predict(self, frame: pd.DataFrame) -> Array:
        """The law (M,) at each row of a frame with columns AT."""
        return self.law.predict(*self._at(frame))

    def predict_draws(self, frame: pd.DataFrame) -> Array:
        """Every refit (S, M) at each row."""
        return self.draws.predict(*self._at(frame))

    def _at(self, frame: pd.DataFrame) -> list[ArrayLike]:
        return [frame[name].to_numpy(float) for name in self.variables]


class LargestHeldOut(NamedTuple):
    """Root mean square relative errors [1] of predictions of the largest model, left out of the fit."""

    model: str
    law: float
    last: float  # rule: the loss of the next smaller model
    half: float  # rule: that, less half of the last gain


def fit_sizes(points: pd.DataFrame, draws: int = 1000, seed: int = 0) -> SizeLaw:
    """Fit L(N, p, D) to the rows of size_points of one family. Raises ValueError where there are too few sizes,
    patches, lengths or runs."""
    _check(points, (*OF_ONE_MODEL, "parameters"))
    law = min((_fit(points, form) for form in CANDIDATES), key=lambda law: law.aicc)
    return _with_intervals(SizeLaw(law, points, AT, draws, seed))


def fit_one_model(points: pd.DataFrame, draws: int = 1000, seed: int = 0) -> SizeLaw:
    """Fit E + A D^-a + B p^b to the rows of size_points of one model. Raises ValueError as fit_sizes."""
    _check(points, OF_ONE_MODEL)
    law = fit2(points["images"], points["patch"], points["y"], "joint")
    return _with_intervals(SizeLaw(law, points, OF_ONE_MODEL, draws, seed))


def hold_out_largest(found: SizeLaw) -> LargestHeldOut | None:
    """The error of the law without the largest model there; None with fewer than FEWEST + 1 models, or where no smaller
    models were run with the same patch size and length."""
    points = found.points
    sizes = sorted(points["parameters"].unique())
    if len(sizes) <= FEWEST:
        return None
    means = points.groupby(["patch", "images", "parameters"])["y"].mean().unstack()
    means = means[sizes[-3:]].dropna()
    if means.empty:
        return None
    largest = points["parameters"] == sizes[-1]
    law = _fit(points[~largest], found.law.form)
    patch, images = (means.index.get_level_values(name).to_numpy(float) for name in ("patch", "images"))
    before, last, measured = (means[size].to_numpy(float) for size in sizes[-3:])
    predicted = law.predict(np.full(len(means), sizes[-1]), patch, images)
    rules = (predicted, last, last - (before - last) / 2)
    errors = [float(np.sqrt(np.mean((rule / measured - 1) ** 2))) for rule in rules]
    return LargestHeldOut(str(points.loc[largest, "model"].iloc[0]), *errors)


def _with_intervals(found: SizeLaw) -> SizeLaw:
    if found.law.why_no_intervals:
        raise ValueError(found.law.why_no_intervals)
    return found


def _check(points: pd.DataFrame, variables: tuple[str, ...]) -> None:
    for name in variables:
        if (number := points[name].nunique()) < FEWEST:
            raise ValueError(f"{number} {NAMES[name]}{'s' * (number != 1)}, and {FEWEST} are needed")


def _fit(points: pd.DataFrame, form: str) -> Fit:
    N, p, D = (points[name] for name in AT)
    return fit3(N, p, D, points["y"], form)
