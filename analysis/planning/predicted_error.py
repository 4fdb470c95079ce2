"""Predicted test errors of models at patch and image sizes, by the published laws or by those of own runs.

Published: of classification the law of model, patch and image size (analysis/planning/allocation.py); of segmentation
and detection E + A N^-a + B p^b, fitted to the linear-head rows of Table 2 (100 - mIoU) and to the box AP of Table 3
(100 - AP) of arXiv 2502.03738, each of two models, one run per number. Own: L_inf + A p^alpha for each group of runs
(a model at an image size, its other settings fixed).
Letters: M configurations, S resampled laws.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from analysis.fitting.bootstrap import bootstrap
from analysis.fitting.laws import Fit, fit, fit2
from analysis.fitting.minimizer import Array
from analysis.planning.allocation import AT, extrapolated, published_surface
from analysis.planning.surface_selection import resampled_predictions
from analysis.records.groups import FEWEST_PATCHES, Group
from analysis.records.published import model_sizes, table2_cells, table3_cells

DRAWS = 200  # resampled laws; twice the standard error of a share of them is at most 7 points
CLASSIFY, SEGMENT = "classify", "segment"  # and "detect"


@dataclass(frozen=True, eq=False)
class Predicted:
    """Test errors of M configurations, by a law."""

    value_M: Array  # in `unit`
    low_M: Array  # 95 % interval, of what `interval_of` is; nan: the data allow none
    high_M: Array
    draws_SM: Array  # by resampled laws; S 0: the data allow no resampling
    beyond: tuple[str, ...]  # per configuration: the variables in which the law extrapolates; "" where none
    measure: str  # "top-1 error"
    unit: str  # "%" or "nats"
    source: str  # of the points that the law is fitted to
    interval_of: str  # "one run" or "the law"

    def difference(self, one: int, other: int) -> tuple[float, float, float]:
        """value of configuration `one` less that of `other`, and the ends of its 95 % interval over the resampled
        laws, nan where there are none."""
        change = float(self.value_M[one] - self.value_M[other])
        if not len(self.draws_SM):
            return change, float("nan"), float("nan")
        low, high = np.quantile(self.draws_SM[:, one] - self.draws_SM[:, other], [0.025, 0.975])
        return change, float(low), float(high)


def published_models(task: str) -> list[str]:
    """The models, by their names in Table 7, that the published law of a task has points of or is a function of."""
    if task == CLASSIFY:
        return [model for model in model_sizes() if model.startswith("Adventurer")]
    return list(dict.fromkeys(_dense_points(task)["model"]))


def published(task: str, models: Sequence[str], patches: Sequence[float], images: Sequence[float]) -> Predicted:
    """Errors by the published law of a task, (M,) each. models: of published_models; patches: sides [px], of dense
    tasks those in pixels of the original image; images: sides that classification sees [px]."""
    law, x_VM = _law_and_places(task, models, patches, images)
    value, beyond = published_values(task, models, patches, images)
    if task == CLASSIFY:
        surface = published_surface()
        low, high = surface.interval(*x_VM)
        draws = resampled_predictions(surface, x_VM, DRAWS)
        return Predicted(value, low, high, draws, beyond, surface.measure, "%", surface.source, "one run")
    low, high = law.band(*x_VM)
    draws = bootstrap(law, "parametric", DRAWS).predict(*x_VM)
    measure, table = ("100 - mIoU", 2) if task == SEGMENT else ("100 - box AP", 3)
    return Predicted(value, low, high, draws, beyond, measure, "%", f"Table {table} of arXiv 2502.03738", "the law")


def published_values(
    task: str, models: Sequence[str], patches: Sequence[float], images: Sequence[float]
) -> tuple[Array, tuple[str, ...]]:
    """The predicted errors [%] alone, and the variables in which each extrapolates. Arguments as for published."""
    law, x_VM = _law_and_places(task, models, patches, images)
    if task == CLASSIFY:
        points = published_surface().points
        beyond = [extrapolated(points, dict(zip(AT, place, strict=True))) for place in x_VM.T.tolist()]
        return law.predict(*x_VM), tuple(beyond)
    seen = _dense_points(task)["patch"]
    return law.predict(*x_VM), tuple("" if seen.min() <= patch <= seen.max() else "patch" for patch in patches)


def _law_and_places(
    task: str, models: Sequence[str], patches: Sequence[float], images: Sequence[float]
) -> tuple[Fit, Array]:
    """The law of a task, and its variables at each configuration, (V, M)."""
    sizes = [model_sizes()[model] for model in models]
    if task == CLASSIFY:
        return published_surface().law, np.array([sizes, patches, images], float)
    return _dense_law(task), np.array([sizes, patches], float)


def own(groups: Sequence[Group], which: Sequence[int], patches: Sequence[float], source: str) -> Predicted:
    """Losses by the laws of own groups, (M,) each. which: the group of each configuration; each has FEWEST_PATCHES
    patch sizes or more. source: the results folder. Resampled laws are those of a group's seeds where it has several,
    else of its residuals; a law of as many parameters as points has none."""
    value, beyond = own_values(groups, which, patches)
    low, high = np.empty(len(which)), np.empty(len(which))
    draws = np.full((DRAWS, len(which)), np.nan)
    for g, group in enumerate(groups):
        its = np.flatnonzero(np.array(which) == g)
        law, x = _own_law(group), np.array(patches, float)[its]
        low[its], high[its] = law.band(x)
        found = _resampled(group, law, x)
        draws[: len(found), its] = found
    complete = draws[np.isfinite(draws).all(axis=1)]
    measure, unit = groups[0].measure, groups[0].unit
    return Predicted(value, low, high, complete, beyond, measure, unit, source, "the law")


def own_values(
    groups: Sequence[Group], which: Sequence[int], patches: Sequence[float]
) -> tuple[Array, tuple[str, ...]]:
    """value_M and beyond of `own`, without intervals."""
    value, x = np.empty(len(which)), np.array(patches, float)
    inside = np.empty(len(which), bool)
    for g, group in enumerate(groups):
        its, points = np.array(which) == g, group.points["patch"]
        value[its] = _own_law(group).predict(x[its])
        inside[its] = (points.min() <= x[its]) & (x[its] <= points.max())
    return value, tuple(np.where(inside, "", "patch").tolist())


def has_law(group: Group) -> bool:
    """Whether a group has the patch sizes of a law and independent points."""
    return group.patches >= FEWEST_PATCHES and not group.shared


def _own_law(group: Group) -> Fit:
    return fit(group.points["patch"], group.points["y"], "shifted", sigma=group.sigma)


def _resampled(group: Group, law: Fit, x: Array) -> Array:
    """(S, m) resampled laws at x; S 0 where the data allow none."""
    several = group.points.groupby("patch")["seed"].nunique().min() > 1
    try:
        return bootstrap(law, "seeds" if several else "parametric", DRAWS).predict(x)
    except ValueError:
        return np.empty((0, len(x)))


def _dense_points(task: str) -> pd.DataFrame:
    """Columns model, patch [px], y: the error [%]."""
    if task == SEGMENT:
        cells = table2_cells().query("decoder == 'linear' and metric == 'mIoU'")
    else:
        cells = table3_cells().query("metric == 'box AP'")
    return cells[["model", "patch"]].assign(y=100 - cells["published"])


@cache
def _dense_law(task: str) -> Fit:
    points = _dense_points(task)
    return fit2(points["model"].map(model_sizes()), points["patch"], points["y"], "joint")
