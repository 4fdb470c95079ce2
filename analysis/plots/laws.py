"""Law figures: the laws of own runs over patch size, tokens or FLOPs.

The function takes the frame of a RunSet (load("results").frame) and returns a Figure; scripts write files.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.fitting.axes import AXES
from analysis.fitting.laws import Fit, fit
from analysis.fitting.shared_runs import fit_runs
from analysis.planning.pareto import comparable
from analysis.plots.backbone_styles import styles
from analysis.plots.drawn_laws import WIDEST, interpolates, of_one_run, places_of
from analysis.plots.labels import Label, label_ends, room_for
from analysis.plots.panels import panels_of, set_titles
from analysis.plots.scales import cost_axis, loss_axis, patch_axis
from analysis.plots.style import (
    DASHES,
    FEW,
    draw_band,
    grid,
    handle,
    key,
)
from analysis.records.group_labels import labels
from analysis.records.groups import FEWEST_PATCHES
from analysis.records.shared_weights import are_shared

ONE_RUN = "one run, whose points share weights: no interval"
NO_LAW, TOO_WIDE = "no law describes the points", "95 % interval: wider than the panel"  # in legends


def law_figure(
    frame: pd.DataFrame,
    forms: Sequence[str] = ("power", "shifted"),
    x: str = "patch",
    beside: Mapping[str, pd.Series] | None = None,
) -> Figure:
    """Test loss against patch size or a cost, log-log, a series per group, every seed a point, with the laws.

    frame: a row per run, or per patch size that a run learned; runs that did not finish are excluded.  forms: the laws
    to draw, the power law as a line, the
    shifted one dashed.  The band is the 95 % interval of the last of them whose parameters are identified, or else of
    the first.  x: a column of AXES over which the laws are fitted.  Points that represent a mean (columns mean, sd of
    analysis/records/seed_summaries.py) are drawn as that mean with a bar of one standard deviation.  Cost increases to
    the right, that is, patches get smaller.  beside: further losses by x, as of an ideal observer, by name; dotted
    lines in all panels.  Each task and data set has a panel: their losses are not comparable.
    Raises ValueError for another x, and where no finished run has it."""
    if x not in AXES:
        raise ValueError(f"unknown x {x!r}; choose from: {', '.join(AXES)}")
    panels = panels_of(comparable(frame, x), f"a test loss and {x}")
    figure, spots = grid(len(panels), 2, 2.9)
    drawn = [_draw_groups(axes, its, forms, x) for axes, its in zip(spots, panels.values(), strict=True)]
    others = [
        axes.plot(losses.index, losses, color="black", ls=":", linewidth=1.4, label=name)[0]
        for axes in spots
        for name, losses in (beside or {}).items()
    ]
    set_titles(figure, spots, panels, f"Test loss and {AXES[x].title}")
    key(figure, [*(entry for one in drawn for entry in one.entries), *others])
    for axes, one in zip(spots, drawn, strict=True):
        label_ends(axes, one.ends)
    return figure


class Drawn(NamedTuple):
    """What a panel needs once the figure has its layout: names of its lines, and entries of the legend."""

    ends: list[Label]
    entries: list[Artist]


def _draw_groups(axes: Axes, runs: pd.DataFrame, forms: Sequence[str], x: str) -> Drawn:
    """One panel of the law figure: the groups of one task and data set."""
    ends = []
    drawn: dict[str, None] = {}
    bands: dict[str, str] = {}
    names = labels(runs)
    looks = styles(names)
    for group, name in names.items():
        points = runs[runs["group"] == group]
        colour, marker = looks[group]
        laws = _draw_laws(axes, points, forms, x, colour)
        drawn |= dict.fromkeys(law.form for law in laws)
        if laws:
            bands[name] = _draw_band(axes, laws, points, x, colour)
        marks, errors = points["test_loss"], points.get("standard_error")
        if "mean" in points:  # of analysis/records/seed_summaries.py
            marks, errors = points["mean"], points["sd"].fillna(0)
        if errors is not None:
            axes.vlines(points[x], marks - errors, marks + errors, color=colour, lw=1.2)
        axes.plot(points[x], marks, marker, color=colour, mec="white", mew=0.6, ms=6, label=name)
        last = points[points["patch"] == points["patch"].min()]
        end = _places(points, x)[0 if x == "patch" else -1]  # of the law, beyond the last point
        ends.append(Label(float(end), float(last["test_loss"].mean()), name, colour))
    few = len(ends) <= FEW
    span, called = runs[x].max() / runs[x].min(), [end.text for end in ends] if few else []
    room = room_for(axes, called, span)
    if x == "patch":
        patch_axis(axes, runs["patch"], room=room)
    else:
        cost_axis(axes, runs[x], AXES[x].label, room=math.log(room) / math.log(max(span, 2.0)))
    loss_axis(axes, runs["test_loss"])
    return Drawn(ends if few else [], _entries(axes, list(drawn), bands, AXES[x].letter, series=not few))


def _places(points: pd.DataFrame, x: str) -> np.ndarray:
    """Where a law is drawn: over its points and a little beyond."""
    return places_of(points[x].min(), points[x].max(), 80)


def _draw_laws(axes: Axes, points: pd.DataFrame, forms: Sequence[str], x: str, colour: str) -> list[Fit]:
    """The laws through one group's points, as lines. Returns those that were drawn."""
    if points[x].nunique() < FEWEST_PATCHES:
        return []
    sigma = points["standard_error"] / points["test_loss"] if "standard_error" in points else None
    laws = []
    for form in forms:
        with suppress(ValueError):  # no law of this form: law_table gives the reason
            if are_shared(points):
                laws.append(fit_runs(points[x], points["test_loss"], points["run_id"], form))
            else:
                laws.append(fit(points[x], points["test_loss"], form, sigma=sigma))
    laws = [law for law in laws if not interpolates(law)]
    for law in laws:
        places = _places(points, x)
        axes.plot(places, law.predict(places), color=colour, linestyle=DASHES[law.form], linewidth=1.5)
    return laws


def _draw_band(axes: Axes, laws: Sequence[Fit], points: pd.DataFrame, x: str, colour: str) -> str:
    """The band of the last law whose parameters are identified, or else of the first. Returns why there is none: no law
    describes the points, they are of one run, or it is everywhere wider than the data; "" where it is drawn."""
    if not any(law.describes for law in laws):
        return NO_LAW
    if of_one_run(points):
        return ONE_RUN
    law = next((law for law in reversed(laws) if all(law.identified.values())), laws[0])
    places = _places(points, x)
    low, high = law.band(places)
    span = points["test_loss"].max() / points["test_loss"].min()
    before = len(axes.collections)
    if np.isfinite(low).any() and np.nanmin(high / low) < WIDEST * span:
        draw_band(axes, law, places, colour)
    return "" if len(axes.collections) > before else TOO_WIDE


def _entries(axes: Axes, forms: Sequence[str], bands: Mapping[str, str], letter: str, series: bool) -> list[Artist]:
    """The entries of the legend, of the laws and, where there are too many series to label, of the series.
    bands: why the interval of each series is not drawn, "" where it is."""
    text = {"power": rf"power law  $A\,{letter}^{{\alpha}}$"}
    text["shifted"] = rf"shifted law  $L_\infty + A\,{letter}^{{\alpha}}$"
    handles: list[Artist] = [handle(text[form], linestyle=DASHES[form]) for form in forms]
    if "" in bands.values():
        handles.append(handle("95 % interval", alpha=0.16, linewidth=8))
        handles += [handle(f"{name}: {why}", ls="") for name, why in bands.items() if why]
    elif bands:
        handles.append(handle(" or ".join(dict.fromkeys(bands.values())), ls=""))
    if series:
        handles += axes.get_legend_handles_labels()[0]
    return handles
