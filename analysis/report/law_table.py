"""Law table: the fitted laws of every group as rows of a file and as a table of 80 columns."""

import itertools
import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.fitting.axes import AXES
from analysis.fitting.laws import Fit, fit
from analysis.fitting.model import FORMS, one_variable
from analysis.fitting.model_selection import HeldOut, fewest_points, hold_out
from analysis.fitting.shared_runs import fit_runs, hold_out_runs
from analysis.records.groups import FEWEST_PATCHES, Group
from analysis.report.more_patches import more_patches
from analysis.report.output import WIDTH, counted
from analysis.report.printfuncs import PARAMETER, parameter_text

NAME, RULE = 18, "-"
FEWEST_GROUPS = 4  # for means over groups
NAIVE = ("last value", "last value and half the last gain")  # predictions without a law
ENDS = ("", "_low", "_high", "_identified")


@dataclass(frozen=True)
class GroupLaw:
    """A law of one group, or the reason why there is none."""

    group: Group
    form: str
    x: str  # of AXES
    law: Fit | None
    held_out: HeldOut | None  # prediction of the smallest patch from the others
    why: str  # reason for a missing law or held-out prediction; "" where there are both


def fit_groups(groups: Iterable[Group], forms: Sequence[str], axes: Sequence[str] = ("patch",)) -> list[GroupLaw]:
    """A law of every form for every group, over each of the axes for which all of its points have a value."""
    laws = []
    for group in groups:
        for x in axes:
            if x in group.points and group.points[x].gt(0).all():
                laws += [fit_group(group, form, x) for form in forms]
    return laws


def fit_group(group: Group, form: str, x: str = "patch") -> GroupLaw:
    """One law of one group; what the points do not allow is a reason, not an error."""
    few = fewest_points(form)
    if group.patches < FEWEST_PATCHES:
        has = f"{counted(group.patches, 'patch size')} finished, a law needs {FEWEST_PATCHES} or more"
        return GroupLaw(group, form, x, None, None, f"{has}: {more_patches(group)}")
    if group.patches < FORMS[form].fewest or len(group.points) < few:
        size = counted(len(group.points), "point") + f" of {counted(group.patches, 'patch size')}"
        return GroupLaw(group, form, x, None, None, f"{size}; the {form} law needs {few}")
    given = dict.fromkeys(FORMS[form].known, group.ceiling)
    if any(map(math.isnan, given.values())):
        return GroupLaw(
            group, form, x, None, None, f"the {form} law needs an upper bound, which {group.measure} does not have"
        )
    points, end = group.points, "smallest" if x == "patch" else "largest"
    try:
        if group.shared:
            law = fit_runs(points[x], points["y"], points["run_id"], form, given)
        else:
            law = fit(points[x], points["y"], form, given=given, sigma=group.sigma)
    except ValueError as e:
        return GroupLaw(group, form, x, None, None, str(e))
    try:
        if group.shared:
            held_out = hold_out_runs(points[x], points["y"], form, end, given)
        else:
            held_out = hold_out(points[x], points["y"], form, end=end, given=given, sigma=group.sigma)
    except ValueError as e:
        return GroupLaw(group, form, x, law, None, f"no held-out error: {e}")
    return GroupLaw(group, form, x, law, held_out, "")


def laws_frame(laws: Iterable[GroupLaw]) -> pd.DataFrame:
    """The fitted laws, a row each. A parameter that is not identified has an interval and no value.

    Columns: source ("own", or the paper's), group, name, task, data, backbone, head, image; measure, unit; x and its
    unit; form, patches, n; each parameter with _low, _high, _identified; r2; objective, loss, delta, starts, slope,
    converged; aicc (empty where undefined); held_out_x, held_out_measured and held_out_predicted, held_out_last and
    held_out_half (two naive predictions: the last value, and that plus half of the last improvement), in the unit of
    y."""
    known = ("task", "data", "backbone", "head", "image")
    letters = list(dict.fromkeys(name for form in one_variable() for name in FORMS[form].names))
    rows = []
    for of in laws:
        if (law := of.law) is None:
            continue
        group = of.group
        row: dict[str, object] = {"source": group.source, "group": group.key, "name": group.name}
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


def parameter_columns(law: Fit) -> dict[str, float]:
    """Every fitted parameter as name, name_low, name_high and name_identified; no value where not identified."""
    columns: dict[str, float] = {}
    for name, ends in law.intervals.items():
        known = law.identified[name]
        values = (law.parameters[name] if known else math.nan, *ends, known)
        columns |= {name + end: value for end, value in zip(ENDS, values, strict=True)}
    return columns


def lines(laws: Sequence[GroupLaw]) -> list[str]:
    """The fitted laws over patch size as a table of 80 columns, a line each, grouped by name. A parameter that is not
    identified has no value, but the end of its interval that is known."""
    table = [_line("runs", "law", "L_inf", "alpha", "R2", "err"), RULE * WIDTH]
    by_group: dict[int, list[GroupLaw]] = {}
    for of in laws:
        if of.law is not None and of.x == "patch":
            by_group.setdefault(id(of.group), []).append(of)
    for its in by_group.values():
        names = textwrap.wrap(its[0].group.name, NAME)
        cells = [_cells(found) for found in its]
        if held := next((found.held_out for found in its if found.held_out), None):
            last, half = (f"{100 * error:+.1f}" for error in held.baselines)
            cells.append(["naive", f"last value {last}", "+ half the last gain", "", half])
        for name, found in itertools.zip_longest(names, cells):
            table.append(_line(name or "", *(found or ())))
    return table


def rising(laws: Sequence[GroupLaw]) -> list[str]:
    """A sentence for each group whose loss increases towards small patches by some law."""
    found: dict[str, list[str]] = {}
    for of in laws:
        if of.x == "patch" and of.law is not None and of.law.parameters.get("alpha", 0.0) < 0:
            found.setdefault(of.group.name, []).append(of.form)
    return [
        f"{name}: the loss increases towards small patches (alpha below 0, {' and '.join(forms)} law); L_inf is then "
        "the limit of large patches"
        for name, forms in found.items()
    ]


def held_out_sentence(laws: Sequence[GroupLaw]) -> str:
    """The held-out errors of one group's laws at its smallest patch and of the naive rules, and which is the smallest;
    "" where nothing was held out."""
    held = {f"{of.form} law": of.held_out for of in laws if of.held_out is not None}
    if not held:
        return ""
    one = next(iter(held.values()))
    errors = {name: its.relative for name, its in held.items()}
    errors |= dict(zip(NAIVE, one.baselines, strict=True))
    texts = ", ".join(f"{name} {100 * error:+.1f} %" for name, error in errors.items())
    best = min(errors, key=lambda name: abs(errors[name]))
    verdict = f"closest: {best}" + (", so no law extrapolates better than a naive rule" if best in NAIVE else "")
    return f"Patch {one.x:g} held out and predicted from the others: {texts}; {verdict}. One held-out point."


def held_out_errors(laws: Sequence[GroupLaw]) -> str:
    """The mean held-out errors of laws and naive predictions over the groups that have all of them, as a sentence; ""
    for fewer than FEWEST_GROUPS such groups."""
    over_patch = [of for of in laws if of.x == "patch" and of.law is not None]
    forms = list(dict.fromkeys(of.form for of in over_patch))
    by_group: dict[int, dict[str, HeldOut]] = {}
    for of in over_patch:
        if of.held_out:
            by_group.setdefault(id(of.group), {})[of.form] = of.held_out
    whole = [held for held in by_group.values() if len(held) == len(forms)]
    if len(whole) < FEWEST_GROUPS:
        return ""
    errors = {f"{form} law": [abs(held[form].relative) for held in whole] for form in forms}
    for n, rule in enumerate(NAIVE):
        errors[rule] = [abs(next(iter(held.values())).baselines[n]) for held in whole]
    texts = [f"{rule} {100 * sum(its) / len(its):.1f} (worst {100 * max(its):.1f})" for rule, its in errors.items()]
    return f"Mean held-out error of the smallest patch over {len(whole)} groups [%]: {', '.join(texts)}."


EXPLAINED = (
    "L_inf: limit of the loss as p -> 0. [ ]: 95 % interval; a parameter without a value is not identified. err [%]: "
    "the smallest patch predicted from the others (negative: too low); naive: by the loss at the next patch, and by "
    "that less half of the last gain."
)


def _cells(of: GroupLaw) -> list[str]:
    assert of.law is not None
    r2 = f"{of.law.r2:.3f}" if of.law.converged else "no end"
    error = f"{100 * of.held_out.relative:+.1f}" if of.held_out else "-"
    return [of.form, *(parameter_text(of.law, name) for name in ("L_inf", "alpha")), r2, error]


def _line(*cells: str) -> str:
    widths = (NAME, 7, *(PARAMETER,) * 2, 5, 5)
    padded = [
        f"{cell:>{w}}" if n > 3 else f"{cell:<{w}}" for n, (cell, w) in enumerate(zip(cells, widths, strict=False))
    ]
    return " ".join(padded).rstrip()
