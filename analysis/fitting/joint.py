"""Joint laws: loss as a function of model size and patch size, L(N, p) = E + A N^-a + B p^b.

Groups that differ in the size of their backbone alone share one joint law: three sizes or more of one family, on the
same data at the same image size. N is the number of parameters at the smallest patch of each model (the smallest
embedding); for the paper's models the value of Table 7.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from analysis.fitting.laws import Fit, fit2
from analysis.records.groups import FEWEST_PATCHES, Group
from analysis.records.published import model_sizes

FEWEST_MODELS = 3


@dataclass(frozen=True)
class JointLaw:
    """A joint law and its points: model, parameters N [1], patch [px], y in `unit`."""

    name: str
    source: str
    measure: str
    unit: str
    points: pd.DataFrame
    law: Fit

    @property
    def worst(self) -> float:
        """The largest relative residual of a point [1]."""
        return float(abs(self.law.residuals).max())


def fit_joint(groups: Iterable[Group]) -> list[JointLaw]:
    """The joint laws of all families with enough models and patch sizes."""
    families: dict[tuple[object, ...], list[Group]] = {}
    for group in groups:
        families.setdefault(_family(group), []).append(group)
    laws = []
    for its in families.values():
        points = pd.concat([_points(group) for group in its], ignore_index=True)
        if points["model"].nunique() < FEWEST_MODELS or points["patch"].nunique() < FEWEST_PATCHES:
            continue
        try:
            law = fit2(points["parameters"], points["patch"], points["y"], "joint", sigma=points.get("sigma"))
        except ValueError:  # models of equal size
            continue
        first = its[0]
        data, image = first.about["data"], first.about["image"]
        name = f"{_family_name(first)} {image:g}" if data == "imagenet" else f"{_family_name(first)} {data}"
        laws.append(JointLaw(name, first.source, first.measure, first.unit, points, law))
    return laws


def _family(group: Group) -> tuple[object, ...]:
    """The properties that groups of one joint law share."""
    about = {name: str(value) for name, value in group.about.items() if name != "backbone"}
    return (
        group.source,
        group.measure,
        _family_name(group),
        *about.items(),
        *sorted((k, str(v)) for k, v in group.held.items()),
    )


def _family_name(group: Group) -> str:
    return str(group.about.get("backbone")).replace("_", "-").split("-")[0]


def _points(group: Group) -> pd.DataFrame:
    """A group's points with the model's name and size; empty where its size is unknown."""
    points, model = group.points, str(group.about["backbone"])
    if "parameters" in points:
        size = float(points.sort_values("patch")["parameters"].iloc[0])
    else:
        size = model_sizes().get(model, math.nan)
    known = [name for name in ("patch", "y", "sigma") if name in points]
    return points[known].assign(model=model, parameters=size).dropna()
