"""Section of the laws: test loss against patch size or a cost, with the fitted laws and their bands. Which of them are
drawn is chosen in the page."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.fitting.axes import AXES
from analysis.fitting.laws import Fit
from analysis.page.content import Content
from analysis.page.section import Json, Section, part, text
from analysis.plots.backbone_styles import styles
from analysis.plots.drawn_laws import WIDEST, interpolates, interval_of, of_one_run, places_of
from analysis.records.groups import Group
from analysis.records.run_frame import headlines
from analysis.report.law_table import GroupLaw
from analysis.report.law_words import law_sentences

SYMBOLS = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross"}
LINE, BAND = 60, 24  # places at which a law, and its band, are computed
DIGITS = 5  # of numbers that are only drawn


def section(content: Content) -> Section:
    """The laws of own runs. Without a group there is a sentence instead."""
    title = "Laws"
    if not content.groups:
        return Section("laws", title, "<p>No run has finished, so there is nothing to fit a law to.</p>")
    words = "".join(f"<li>{text(sentence)}</li>" for sentence in law_sentences(content.laws))
    refused = "".join(f"<li>{text(why)}</li>" for why in content.refused.values())
    lists = (f"<ul>{words}</ul>" if words else "") + (f"<p>Not fitted:</p><ul>{refused}</ul>" if refused else "")
    return Section(
        "laws",
        title,
        part("laws.html").replace("<!-- words -->", lists or "<p>No law was fitted.</p>"),
        part("laws.js"),
        _data(content),
    )


def _data(content: Content) -> Json:
    panels: dict[str, list[Group]] = {}
    several = len({group.about.get("task") for group in content.groups}) > 1
    for group in content.groups:
        where = f"{group.about['data']}, {group.about['task']}" if several else str(group.about["data"])
        panels.setdefault(where, []).append(group)
    metrics = _metrics(content.runs.frame)
    return {
        "axes": {x: {"letter": axis.letter, "unit": axis.unit, "title": axis.title} for x, axis in AXES.items()},
        "forms": list(dict.fromkeys(of.form for of in content.laws)),
        "panels": [
            {"title": title, "groups": _groups(groups, content.laws, metrics)} for title, groups in panels.items()
        ],
    }


def _groups(groups: Sequence[Group], laws: Sequence[GroupLaw], metrics: Mapping[str, str]) -> list[Json]:
    looks = styles(group.name for group in groups)
    found: list[Json] = []
    for group in groups:
        colour, marker = looks[group.name]
        points = group.points
        axes = [x for x in AXES if x in points and points[x].gt(0).any()]
        of_runs = [metrics.get(run, "") for run in points["run_id"]]
        found.append(
            {
                "name": group.name,
                "colour": colour,
                "symbol": SYMBOLS[marker],
                "x": {x: rounded(points[x]) for x in axes},
                "y": rounded(points["y"]),
                "run": list(points["run_id"]),
                "seed": [int(seed) for seed in points["seed"]],
                "patch": rounded(points["patch"]),
                "metrics": of_runs,
                "laws": [_law(of) for of in laws if of.group is group],
            }
        )
    return found


def _metrics(frame: pd.DataFrame) -> dict[str, str]:
    """The headline metrics of each run as text, by run_id."""
    known = headlines(frame)
    return {
        str(run["run_id"]): ", ".join(
            f"{name} {run[metric]:.1f} %" for metric, name in known.items() if not math.isnan(run[metric])
        )
        for run in frame.to_dict("records")
    }


def _law(of: GroupLaw) -> Json:
    """A law as lines to draw and as text."""
    law = of.law
    if law is None:
        return {"x": of.x, "form": of.form, "why": of.why}
    low, high = float(np.min(law.x)), float(np.max(law.x))
    drawn: dict[str, Json] = {}
    band, why = dict[str, Json](), "as many parameters as points: not drawn"
    if not interpolates(law):
        places = places_of(low, high, LINE)
        drawn = {"places": rounded(places), "line": rounded(law.predict(places))}
        band, why = _band(of.group, law, places_of(low, high, BAND))
    formula, _, more = law.summary(x=AXES[of.x].letter).partition("\n")
    return {
        "x": of.x,
        "form": of.form,
        **drawn,
        **band,
        "law": " ".join(formula.split()),
        "intervals": " ".join(more.split()),
        "heldOut": f"{100 * of.held_out.relative:+.1f} %" if of.held_out else "",
        "why": why,
    }


def _band(group: Group, law: Fit, places: np.ndarray) -> tuple[dict[str, Json], str]:
    """The 95 % interval of a law, or why it is not drawn."""
    if not law.describes:
        return {}, "no band: the law does not describe the points"
    if of_one_run(group.points):
        return {}, "no band: one run, whose points share weights"
    at, low, high, bars = interval_of(law, places)
    if not np.all(np.isfinite(low) & np.isfinite(high)):
        return {}, "no band: it has no end somewhere"
    if np.min(high / low) >= WIDEST * float(np.max(law.y) / np.min(law.y)):
        return {}, "no band: wider than the panel"
    name = "bars" if bars else "band"
    return {name: {"x": rounded(at), "low": rounded(low), "high": rounded(high)}}, ""


def rounded(values: Iterable[float]) -> list[Json]:
    """Numbers for drawing, which need few digits; nan stays and becomes null."""
    return [float(f"{value:.{DIGITS}g}") for value in map(float, values)]
