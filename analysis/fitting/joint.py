"""Joint laws: loss over model size and patch size at once, L(N, p) = E + A N^-a + B p^b, and what they miss.

Groups that differ in the size of their backbone alone make one joint law: three sizes or more of one family, on the
same data at the same image size. N is the number of parameters at the smallest patch of each model, whose embedding is
the least; of the paper's models what Table 7 prints.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.fitting.laws import Fit, fit2
from analysis.records.groups import FEWEST_PATCHES, Group
from analysis.records.published import model_sizes
from analysis.report.law_table import parameter_columns, parameter_text
from analysis.report.output import WIDTH

FEWEST_MODELS = 3
WIDTHS = (18, 3, 16, 18, 16)


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
    """The joint laws that the groups allow."""
    families: dict[tuple[object, ...], list[Group]] = {}
    for group in groups:
        families.setdefault(_family(group), []).append(group)
    laws = []
    for its in families.values():
        points = pd.concat([_points(group) for group in its], ignore_index=True)
        if points["model"].nunique() < FEWEST_MODELS or points["patch"].nunique() < FEWEST_PATCHES:
            continue
        try:
            law = fit2(points["parameters"], points["patch"], points["y"], "joint")
        except ValueError:  # sizes that are no sizes: models of equal parameters
            continue
        first = its[0]
        data, image = first.about["data"], first.about["image"]
        name = f"{_family_name(first)} {image:g}" if data == "imagenet" else f"{_family_name(first)} {data}"
        laws.append(JointLaw(name, first.source, first.measure, first.unit, points, law))
    return laws


def joint_frame(laws: Iterable[JointLaw]) -> pd.DataFrame:
    """The joint laws, a row each: name, source, measure, unit, models, patches, n; E, A, a, B, b, each with _low, _high
    and _identified and no value where it is not; r2, converged, worst (the largest relative residual [1])."""
    rows = []
    for of in laws:
        law = of.law
        row: dict[str, Any] = {"name": of.name, "source": of.source, "measure": of.measure, "unit": of.unit}
        row |= {"models": of.points["model"].nunique(), "patches": of.points["patch"].nunique(), "n": law.n}
        rows.append({**row, **parameter_columns(law), "r2": law.r2, "converged": law.converged, "worst": of.worst})
    return pd.DataFrame(rows)


def joint_lines(laws: Sequence[JointLaw]) -> list[str]:
    """The joint laws as a table of 80 columns."""
    table = [_line(("runs", "n", "E", "a (model)", "b (patch)"), "miss"), "-" * WIDTH]
    for of in laws:
        texts = [parameter_text(of.law, name, room) for name, room in zip("Eab", WIDTHS[2:], strict=True)]
        worst = f"{100 * of.worst:.1f}" if of.law.converged else "-"
        table.append(_line((of.name, str(of.law.n), *texts), worst))
    return table


EXPLAINED = (
    "E: what is left of the loss with the largest models and the smallest patches. miss: the largest residual of a "
    "point [%]; where it is large, model size and patch size do not just add."
)


def _line(cells: Sequence[str], last: str) -> str:
    return " ".join(f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS, strict=True)) + f" {last:>4}"


def _family(group: Group) -> tuple[object, ...]:
    """What groups of one joint law have in common."""
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
    """A group's points with the model's name and size; none where its size is unknown."""
    points, model = group.points, str(group.about["backbone"])
    if "parameters" in points:
        size = float(points.sort_values("patch")["parameters"].iloc[0])
    else:
        size = model_sizes().get(model, math.nan)
    return points[["patch", "y"]].assign(model=model, parameters=size).dropna()
