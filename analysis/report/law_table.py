"""Law table: every group's laws, fitted, as rows for a file and as a table of 80 columns."""

import itertools
import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.fitting.laws import Fit, fit
from analysis.fitting.lineshapes import FORMS
from analysis.fitting.model_selection import HeldOut, fewest_points, hold_out
from analysis.fitting.more_patches import more_patches
from analysis.records.groups import FEWEST_PATCHES, Group
from analysis.report.output import WIDTH, counted

ONE_VARIABLE = [name for name, shape in FORMS.items() if shape.variables == 1]
AXES = {  # what a law may be a law of: column of a group's points -> its letter and unit
    "patch": ("p", "px"),
    "tokens": ("T", "tokens"),
    "flops_per_image": ("C", "FLOPs"),
    "device_hours": ("H", "h"),
}
NAME, PARAMETER, RULE = 18, 20, "-"
ENDS = ("", "_low", "_high", "_identified")


@dataclass(frozen=True)
class GroupLaw:
    """A law of one group, or the reason why there is none."""

    group: Group
    form: str
    x: str  # of AXES
    law: Fit | None
    held_out: HeldOut | None  # the smallest patch, by a law of the others
    why: str  # why there is no law, or no held-out patch; "" where there are both


def fit_groups(groups: Iterable[Group], forms: Sequence[str], axes: Sequence[str] = ("patch",)) -> list[GroupLaw]:
    """A law of every form for every group, over every axis that the group's points have."""
    laws = []
    for group in groups:
        for x in axes:
            if x in group.points and group.points[x].gt(0).all():
                laws += [fit_group(group, form, x) for form in forms]
    return laws


def fit_group(group: Group, form: str, x: str = "patch") -> GroupLaw:
    """One law of one group; never raises for what the points do not allow."""
    few = fewest_points(form)
    if group.patches < FEWEST_PATCHES:
        has = f"{counted(group.patches, 'patch size')} finished, a law needs {FEWEST_PATCHES} or more"
        return GroupLaw(group, form, x, None, None, f"{has}: {more_patches(group)}")
    if group.patches < FORMS[form].fewest or len(group.points) < few:
        size = counted(len(group.points), "point") + f" of {counted(group.patches, 'patch size')}"
        return GroupLaw(group, form, x, None, None, f"{size}; the {form} law needs {few}")
    given = dict.fromkeys(FORMS[form].known, group.ceiling)
    if any(map(math.isnan, given.values())):
        return GroupLaw(group, form, x, None, None, f"the {form} law needs a ceiling, and {group.measure} has none")
    try:
        law = fit(group.points[x], group.points["y"], form, given=given)
    except ValueError as e:
        return GroupLaw(group, form, x, None, None, str(e))
    try:
        end = "smallest" if x == "patch" else "largest"
        held_out = hold_out(group.points[x], group.points["y"], form, end=end, given=given)
    except ValueError as e:
        return GroupLaw(group, form, x, law, None, f"nothing held out: {e}")
    return GroupLaw(group, form, x, law, held_out, "")


def laws_frame(laws: Iterable[GroupLaw]) -> pd.DataFrame:
    """The laws that were fitted, a row each. A parameter that is not identified has its interval and no value.

    Columns: source ("own", or the paper's), group, name, task, data, backbone, head, image; measure, unit; x and its
    unit; form, patches, n; each parameter with _low, _high, _identified; r2; objective, loss, delta, starts, slope,
    converged; aicc (empty where undefined); held_out_x, held_out_measured and held_out_predicted, held_out_last and
    held_out_half (what two naive rules say there: the last value, and that with half of the last gain once more), in
    the unit of y."""
    known = ("task", "data", "backbone", "head", "image")
    letters = list(dict.fromkeys(name for form in ONE_VARIABLE for name in FORMS[form].names))
    rows = []
    for of in laws:
        if (law := of.law) is None:
            continue
        group = of.group
        row: dict[str, Any] = {"source": group.source, "group": group.key, "name": group.name}
        row |= {name: group.about.get(name, math.nan) for name in known}
        row |= {"measure": group.measure, "unit": group.unit, "x": of.x, "x_unit": AXES[of.x][1]}
        row |= {"form": of.form, "patches": group.patches, "n": law.n}
        for name in letters:
            row |= dict.fromkeys((name + end for end in ENDS), math.nan)
        row |= parameter_columns(law)
        row |= {name: getattr(law, name) for name in ("r2", "objective", "loss", "delta", "starts", "slope")}
        row |= {"converged": law.converged, "aicc": law.aicc}
        held = of.held_out._asdict() if of.held_out else {}
        row |= {f"held_out_{name}": held.get(name, math.nan) for name in ("x", "measured", "predicted", "last", "half")}
        rows.append(row)
    return pd.DataFrame(rows)


def parameter_columns(law: Fit) -> dict[str, Any]:
    """Every fitted parameter with _low, _high and _identified behind its name; no value where it is not identified."""
    columns: dict[str, Any] = {}
    for name, ends in law.intervals.items():
        told = law.identified[name]
        values = (law.parameters[name] if told else math.nan, *ends, told)
        columns |= {name + end: value for end, value in zip(ENDS, values, strict=True)}
    return columns


def lines(laws: Sequence[GroupLaw]) -> list[str]:
    """The laws over patch side that were fitted as a table of 80 columns, under each group's name a line each. What a
    parameter is not identified to be is not said: its interval stands alone, with "?"."""
    table = [_line("runs", "law", "L_inf", "alpha", "R2", "miss"), RULE * WIDTH]
    by_group: dict[int, list[GroupLaw]] = {}
    for of in laws:
        if of.law is not None and of.x == "patch":
            by_group.setdefault(id(of.group), []).append(of)
    for its in by_group.values():
        names = textwrap.wrap(its[0].group.name, NAME)
        cells = [_cells(found) for found in its]
        if held := next((found.held_out for found in its if found.held_out), None):
            last, half = (f"{100 * miss:+.1f}" for miss in held.naive)
            cells.append(["naive", f"last value {last}", "+ half the last gain", "", half])
        for name, found in itertools.zip_longest(names, cells):
            table.append(_line(name or "", *(found or ())))
    return table


def rising(laws: Sequence[GroupLaw]) -> list[str]:
    """A sentence for each group whose losses rise towards small patches by some law."""
    found: dict[str, list[str]] = {}
    for of in laws:
        if of.x == "patch" and of.law is not None and of.law.parameters.get("alpha", 0.0) < 0:
            found.setdefault(of.group.name, []).append(of.form)
    return [
        f"{name}: the loss rises towards small patches (alpha below 0, {' and '.join(forms)} law); a floor is then at "
        "large patches"
        for name, forms in found.items()
    ]


def misses(laws: Sequence[GroupLaw]) -> str:
    """How far laws and naive rules miss the smallest patch over the groups that have all of them: a sentence, "" where
    fewer than two have."""
    over_patch = [of for of in laws if of.x == "patch" and of.law is not None]
    forms = list(dict.fromkeys(of.form for of in over_patch))
    by_group: dict[int, dict[str, HeldOut]] = {}
    for of in over_patch:
        if of.held_out:
            by_group.setdefault(id(of.group), {})[of.form] = of.held_out
    whole = [held for held in by_group.values() if len(held) == len(forms)]
    if len(whole) < 2:
        return ""
    missed = {f"the {form} law": [abs(held[form].relative) for held in whole] for form in forms}
    for n, rule in enumerate(("the last value", "the last value and half the last gain")):
        missed[rule] = [abs(next(iter(held.values())).naive[n]) for held in whole]
    told = [f"{rule} {100 * sum(its) / len(its):.1f} (worst {100 * max(its):.1f})" for rule, its in missed.items()]
    return f"Mean miss of the smallest patch over {len(whole)} rows [%]: {', '.join(told)}."


EXPLAINED = (
    "L_inf: what is left as patches vanish, in the unit of the loss. [ ]: 95 % profile-likelihood interval. ?, or "
    "no end: not identified, the interval reaches a bound or has no end, and no point is told. R2: of log L. "
    "miss: by how many percent a law of the other patch sizes misses the smallest one, which it has not seen; naive: "
    "by how many the value at the next patch size does, and in the last column that with half of its gain once more."
)


def parameter_text(law: Fit, name: str, room: int = PARAMETER) -> str:
    """A parameter with its interval; the interval alone, with "?", where it is not identified; "-" where the law has
    none of that name, "?" where it has no interval. room: the longest that it may be [characters], if it can."""
    if name not in law.intervals:
        return "-"
    ends = law.intervals[name]
    if math.isnan(ends[0]):
        return "?"
    finite = [abs(end) for end in ends if math.isfinite(end)]
    if not finite:
        return "no end, either side" if room >= PARAMETER else "no end"
    size = (ends[1] - ends[0]) / 2 if len(finite) == 2 else max(finite)
    largest = max(finite)
    power = math.floor(math.log10(largest)) if largest and not 1e-3 <= largest < 1e5 else 0
    decimals = 3 - math.floor(math.log10(largest)) if largest else 3
    decimals = max(0, min(decimals, -math.floor(math.log10(size / 3)) if size > 0 else decimals) + power)
    text = _interval(law, name, decimals, power)
    while len(text) > room and decimals > 0:
        decimals -= 1
        text = _interval(law, name, decimals, power)
    return text if len(text) <= room else text.replace(" upper end", " end").replace(" lower end", " end")


def _interval(law: Fit, name: str, decimals: int, power: int) -> str:
    """The text of a parameter, in units of 10^power."""

    def number(value: float) -> str:  # what rounds to 0 keeps a digit: on which side of 0 it is matters
        value *= 10.0**-power
        return f"{value:.{decimals}f}" if round(value, decimals) else f"{value:.1g}"

    (low, high), unit = law.intervals[name], f" e{power}" if power else ""
    if math.isinf(high):
        return f">{number(low)}{unit}, no upper end"
    if math.isinf(low):
        return f"<{number(high)}{unit}, no lower end"
    ends = f"[{number(low)}, {number(high)}]{unit}"
    return f"{number(law.parameters[name])} {ends}" if law.identified[name] else f"{ends} ?"


def _cells(of: GroupLaw) -> list[str]:
    assert of.law is not None
    r2 = f"{of.law.r2:.3f}" if of.law.converged else "no end"
    miss = f"{100 * of.held_out.relative:+.1f}" if of.held_out else "-"
    return [of.form, *(parameter_text(of.law, name) for name in ("L_inf", "alpha")), r2, miss]


def _line(*cells: str) -> str:
    widths = (NAME, 7, *(PARAMETER,) * 2, 5, 5)
    padded = [
        f"{cell:>{w}}" if n > 3 else f"{cell:<{w}}" for n, (cell, w) in enumerate(zip(cells, widths, strict=False))
    ]
    return " ".join(padded).rstrip()
