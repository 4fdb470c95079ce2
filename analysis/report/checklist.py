"""Checklist: the information needed to assess or reproduce every fit, in Markdown.

The questions are those of "(Mis)Fitting: A Survey of Scaling Laws", arXiv 2502.18969 (its checklist): what is fitted,
what was trained, which points were used and which were not, how it was fitted, and how certain it is. The answers are
from the records and the fits; what they do not hold is marked as unknown.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import pandas as pd

from analysis.fitting.axes import AXES
from analysis.fitting.bootstrap import COVERAGE, bootstrap
from analysis.fitting.laws import OPTIMISER, Fit
from analysis.fitting.model import FORMS
from analysis.fitting.model_selection import compare_forms
from analysis.fitting.seed_error import seed_error, uneven_seeds
from analysis.records.groups import Group
from analysis.report.law_table import GroupLaw, held_out_sentence
from analysis.report.law_words import group_sentence, lack_of_fit_clause, why_not_tested
from analysis.report.output import counted
from analysis.report.patch_test_text import patch_test_lines
from analysis.report.printfuncs import interval_text

DRAWS = 1000
UNEQUAL = 0.05  # significance level of Bartlett's test
NOT_TUNED = "not tuned per patch size: these are the recipe's values at all of them"


def checklist(laws: Sequence[GroupLaw]) -> str:
    """The report of all groups over patch size, with or without a law. laws: of law_table.fit_groups."""
    over_patch = [of for of in laws if of.x == "patch"]
    parts = [
        "# What was fitted, and how\n\nThe checklist of arXiv 2502.18969, filled in from the records. Intervals are "
        f"95 % profile likelihood, with a coverage of {COVERAGE['profile']} (`benchmark.py coverage`). A parameter "
        "that is not identified has an interval and no value.\n"
    ]
    for _, its in groupby(over_patch, key=lambda of: id(of.group)):
        parts.append("\n".join(_section(list(its))) + "\n")
    return "\n".join(parts)


def _section(laws: list[GroupLaw]) -> Iterator[str]:
    group = laws[0].group
    yield f"## {group.name}\n"
    yield f"`{group.key}`; {group.measure} [{group.unit}] at patch size p [px].\n"
    yield "### What was trained\n"
    yield from _rows(_setup(group))
    yield "\n### Points\n"
    yield from _points(group)
    if tested := list(patch_test_lines(group.points)):
        yield "\n### Is a smaller patch better?\n"
        yield from tested
    fitted = [of for of in laws if of.law is not None]
    yield "\n### Fits\n"
    for of in laws:
        if of.law is None:
            yield f"- {of.form}: not fitted; {of.why}"
    if fitted and len(fitted) < len(laws):
        yield ""  # else Markdown includes the table in the list
    if fitted:
        yield f"{group_sentence(fitted)}\n"
        if held_out := held_out_sentence(fitted):
            yield f"{held_out}\n"
        yield from _fits(fitted)


def _setup(group: Group) -> dict[str, str]:
    known = {name: str(value) for name, value in group.about.items() if not (pd.isna(value) or value == "")}
    held = ", ".join(f"{name} {_plain(value)}" for name, value in group.held.items() if value not in ("", 0))
    return {
        **known,
        "models": _range(group.points, "parameters", "parameters"),
        "tokens per image": _range(group.points, "tokens", "tokens"),
        "FLOPs per image": _range(group.points, "flops_per_image", "FLOPs"),
        "held fixed": f"{held}; {NOT_TUNED}" if held else f"unknown here: see {_elsewhere(group)}",
        "made by": ", ".join(f"{name} {value}" for name, value in group.made.items()) or _elsewhere(group),
    }


def _elsewhere(group: Group) -> str:
    """Sources of answers that are in no record."""
    return f"the author of {group.source}" if group.source.endswith(".csv") else "Tables 8 to 10 of arXiv 2502.03738"


def _points(group: Group) -> Iterator[str]:
    by_patch = group.points.groupby("patch")["y"]
    size = f"{counted(len(group.points), 'point')} of {counted(group.patches, 'patch size')}"
    each = "each the end of a run"
    if group.shared:
        each = f"of {counted(group.points['run_id'].nunique(), 'run')}, each one set of weights for all of its points"
    yield f"{size}, {each}: no intermediate checkpoints, no smoothed curves.\n"
    yield "| patch [px] | runs | " + f"{group.measure} [{group.unit}] |"
    yield "| ---: | ---: | --- |"
    for patch, values in sorted(by_patch, key=lambda one: -float(one[0])):  # type: ignore[arg-type]
        texts = (f"{value:.4f}" if value >= 1e-2 else f"{value:.4g}" for value in values)
        yield f"| {patch:g} | {len(values)} | {', '.join(texts)} |"
    yield ""
    yield "Dropped: " + ("; ".join(group.dropped) if group.dropped else "none") + "."


def _fits(laws: list[GroupLaw]) -> Iterator[str]:
    columns = {of.form: _answers(of, of.law) for of in laws if of.law is not None}
    fullest = sorted(columns.values(), key=len, reverse=True)
    questions = list(dict.fromkeys(question for answers in fullest for question in answers))
    yield "| | " + " | ".join(columns) + " |"
    yield "| --- |" + " --- |" * len(columns)
    for question in questions:
        yield f"| {question} | " + " | ".join(answers.get(question, "") for answers in columns.values()) + " |"
    table = compare_forms([of.law for of in laws if of.law is not None])
    if table["weight"].notna().all() and len(table) > 1:
        best = table.sort_values("aicc").iloc[0]
        yield f"\nOf these forms AICc prefers {best['form']}, with an Akaike weight of {best['weight']:.2f}."
    elif len(table) > 1:
        yield "\nAICc cannot choose between these forms: it is undefined for at least one of them at this n."


def _answers(of: GroupLaw, law: Fit) -> dict[str, str]:
    shape, letter = FORMS[law.form], AXES[of.x].letter
    letters = {name: name for name in shape.names}
    answers = {
        "form": f"`L = {shape.text.format(x=letter, **letters)}`",
        "errors": f"of log L; {'Huber, delta ' + f'{law.delta:g}' if law.objective == 'huber' else 'least squares'}",
        "optimiser": f"{OPTIMISER}; {counted(law.starts, 'start')}",
        "bounds": _bounds(law),
        "given": ", ".join(f"{name} = {value:.4g}" for name, value in law.given.items()) or "nothing",
        "converged": f"{'yes' if law.converged else 'NO'}: slope {law.slope:.1e}",
        "objective": f"{law.loss:.4g}",
        "R² of log L": f"{law.r2:.4f}",
        "weights": _weights(law),
        "deviations": lack_of_fit_clause(law) or why_not_tested(law),
    }
    for name, ends in law.intervals.items():
        point = f"{law.parameters[name]:.4g}, " if law.identified[name] else "not identified, "
        answers[name] = point + _ends(ends) if not math.isnan(ends[0]) else f"not identified: {law.why_no_intervals}"
    for remark in law.remarks:
        answers["remark"] = remark.format(x=letter)
    answers |= _draws(law)
    k = f"undefined at this n: more than {law.k + 2} points are needed"
    if law.objective == "huber":
        k = "undefined for Huber's loss"
    answers["AICc"] = f"{law.aicc:.2f}" if math.isfinite(law.aicc) else k
    if held := of.held_out:
        predicted = (
            f"{held.predicted:.4g} ({_ends((held.low, held.high))})"
            if held.low == held.low
            else f"{held.predicted:.4g}"
        )
        last, half = (f"{100 * error:+.2f} %" for error in held.baselines)
        answers["smallest patch held out"] = (
            f"predicted {predicted}, measured {held.measured:.4g}: {100 * held.relative:+.2f} %"
        )
        answers["naive predictions there"] = f"last value {last}; last value and half the last gain {half}"
    else:
        answers["smallest patch held out"] = of.why or "-"
    return answers


def _draws(law: Fit) -> dict[str, str]:
    """Intervals by bootstrap, or why there are none."""
    answers = {}
    kinds = {"parametric": "parametric bootstrap", "seeds": "bootstrap of seed noise", "pairs": "bootstrap of pairs"}
    for kind, text in (kinds if law.run_N is None else {"runs": "bootstrap of runs"}).items():
        try:
            drawn = bootstrap(law, kind, draws=DRAWS)
        except ValueError as e:
            answers[text] = f"none: {str(e).split(':')[0]}"
            continue
        ends = ", ".join(f"{name} {_ends(its)}" for name, its in drawn.intervals().items())
        answers[text] = f"{ends} ({DRAWS:,} draws, {drawn.failed} not converged)"
        if kind in COVERAGE:
            answers[text] += f"; coverage {COVERAGE[kind]}"
    spread, df = seed_error(law)
    if df:
        answers["seeds"] = f"standard deviation {100 * spread:.2f} % of the loss ({df} degrees of freedom)"
    if uneven := uneven_seeds(law):
        answers["seeds"] += (
            f"; {100 * uneven.low:.2f} to {100 * uneven.high:.2f} % by patch size (Bartlett's test, p {uneven.p:.2g})"
        )
        if uneven.p < UNEQUAL:
            answers["seeds"] += (
                ": the variance depends on the patch size; weights and the bootstrap of seed noise include that"
            )
    return answers


def _weights(law: Fit) -> str:
    """How the points are weighed: one weight per x, relative to the smallest."""
    if np.ptp(law.problem.weight_N) == 0:
        return "equal"
    weights = (law.problem.weight_N / law.problem.weight_N.min()) ** 2
    source = "spread between seeds, shrunk" if math.isnan(law.problem.sigma) else "given standard errors"
    if law.lack_of_fit is not None and law.lack_of_fit.significant:
        source += ", with the variance of the deviations that they do not explain"
    return f"by {source}; largest / smallest weight {weights.max():.3g}"


def _bounds(law: Fit) -> str:
    bounds = []
    for k, name in enumerate(law.problem.shape.names):
        low, high = (law.problem.in_its_unit(k, end) for end in law.problem.ends_2K[:, k])
        lowest = 0.0 if law.problem.shape.logs[k] else -np.inf
        if name not in law.given and (low > lowest or np.isfinite(high)):
            bounds.append(f"{name} in [{low:.4g}, {high:.4g}]")
    return ", ".join(bounds) or "none"


def _ends(ends: tuple[float, float]) -> str:
    return interval_text(*ends).removeprefix("in ")


def _range(points: pd.DataFrame, column: str, unit: str) -> str:
    if column not in points or points[column].isna().all():
        return "unknown"
    low, high = points[column].min(), points[column].max()
    return f"{low:,.0f} {unit}" if low == high else f"{low:,.0f} to {high:,.0f} {unit}"


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _rows(answers: dict[str, str]) -> Iterator[str]:
    yield "| | |"
    yield "| --- | --- |"
    for question, answer in answers.items():
        yield f"| {question} | {answer} |"
