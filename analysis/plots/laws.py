"""Law figures: the laws of own runs over patch size, tokens or FLOPs, and accuracy against cost.

Each function takes the frame of a RunSet (load("results").frame) and returns a Figure; scripts write files.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.fitting.axes import AXES
from analysis.fitting.laws import Fit, fit
from analysis.fitting.shared_runs import fit_runs
from analysis.planning.pareto import comparable, frontier, over_seeds
from analysis.plots.backbone_styles import styles
from analysis.plots.labels import Label, label_ends, label_points, room_for
from analysis.plots.style import (
    DASHES,
    FEW,
    INK,
    LineStyle,
    cost_axis,
    draw_band,
    grid,
    handle,
    loss_axis,
    open_frame,
    patch_axis,
)
from analysis.records.group_labels import labels
from analysis.records.groups import FEWEST_PATCHES
from analysis.records.shared_weights import are_shared
from scaling.config.edit import make_config
from scaling.runs.record import HEADLINES

WIDE = 3.9  # approximate width of a panel's axes [inches]
WIDEST = 1.5  # a band that is everywhere wider than the data by this ratio is not drawn
ONE_RUN = "one run, whose points share weights: no interval"
NO_LAW, TOO_WIDE = "no law describes the points", "95 % interval: wider than the panel"  # in legends
FAINT = 0.35  # opacity of runs that are not on the Pareto frontier


def law_figure(frame: pd.DataFrame, forms: Sequence[str] = ("power", "shifted"), x: str = "patch") -> Figure:
    """Test loss against patch size or a cost, log-log, a series per group, every seed a point, with the laws.

    frame: a row per run, or per patch size that a run learned; runs that did not finish are excluded.  forms: the laws
    to draw, the power law as a line, the
    shifted one dashed.  The band is the 95 % interval of the last of them whose parameters are identified, or else of
    the first.  x: a column of AXES over which the laws are fitted.  Points that represent a mean (columns mean, sd of
    analysis/records/seed_summaries.py) are drawn as that mean with a bar of one standard deviation.  Cost increases to
    the right, that is, patches get smaller.  Each task and data set has a panel: their losses are not comparable.
    Raises ValueError for another x, and where no finished run has it."""
    if x not in AXES:
        raise ValueError(f"unknown x {x!r}; choose from: {', '.join(AXES)}")
    panels = _panels(comparable(frame, x), f"a test loss and {x}")
    figure, spots = grid(len(panels), 2, (5.0, 3.7) if len(panels) == 1 else (4.4, 3.5))
    for axes, its in zip(spots, panels.values(), strict=True):
        _draw_groups(axes, its, forms, x)
    _title(figure, spots, panels, f"Test loss and {AXES[x].title}")
    return figure


def frontier_figure(frame: pd.DataFrame, cost: str = "flops_per_image", metric: str | None = None) -> Figure:
    """Accuracy against cost: every run a point, those on the Pareto frontier filled and joined by steps, the others
    faint. Several seeds are their mean, with each seed as a dot.

    frame: a row per run, with a panel per task and data set; or published numbers, with columns model, patch and those
    named.  cost: a column, such as "flops_per_image" [FLOPs].  metric: a column [%], higher is better; None: test_loss
    [nats], lower is better.  Labels: p16 for patches of 16 px, where there is room.  Raises ValueError where no run has
    both."""
    value = metric or "test_loss"
    panels = _panels(comparable(frame, cost, metric), f"{metric or 'a test loss'} and {cost}")
    means = {what: over_seeds(its, cost, value) for what, its in panels.items()}
    many = any(len(_series(its)) > FEW for its in means.values())  # their legend is beside the axes
    figure, spots = grid(len(panels), 2, (5.0 + 2.2 * many, 3.8) if len(panels) == 1 else (4.4 + 2.0 * many, 3.6))
    for axes, (what, its) in zip(spots, panels.items(), strict=True):
        if len(its) > len(means[what]):
            _draw_seeds(axes, its, cost, value)
        _draw_frontier(axes, means[what], cost, metric)
        if value == "test_loss":
            loss_axis(axes, its[value])
    _title(figure, spots, panels, "Accuracy against cost")
    for axes, its in zip(spots, means.values(), strict=True):
        label_points(axes, _frontier_labels(its, cost, metric))
    return figure


def _panels(runs: pd.DataFrame, needed: str) -> dict[str, pd.DataFrame]:
    """The runs by task and data set, by the title of their panel. It omits the default task, unless there are several
    in the figure, and the image size where there are several, which are then in the names of the series."""
    if runs.empty:
        raise ValueError(f"no run that finished has {needed}")
    if "data" not in runs:
        return {"": runs}
    runs = runs if "task" in runs else runs.assign(task=make_config().task.kind)
    panels: dict[str, pd.DataFrame] = {}
    for (task, data), its in runs.groupby(["task", "data"], sort=False):
        words = [str(task)] if runs["task"].nunique() > 1 or task != make_config().task.kind else []
        images = its["image"].dropna().unique()
        panels[" ".join([*words, str(data), *(f"{image} px" for image in images if len(images) == 1)])] = its
    return panels


def _title(figure: Figure, spots: list[Axes], panels: dict[str, pd.DataFrame], title: str) -> None:
    for axes, what in zip(spots, panels, strict=True):
        axes.set_title(what if len(panels) > 1 else ": ".join(filter(None, (title, what))), loc="left", fontsize=11)
    if len(panels) > 1:
        figure.suptitle(title, x=0.02, ha="left", fontsize=12)


def _draw_groups(axes: Axes, runs: pd.DataFrame, forms: Sequence[str], x: str) -> None:
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
        axes.plot(points[x], marks, marker, color=colour, mec="white", mew=0.7, ms=7, label=name)
        last = points[points["patch"] == points["patch"].min()]
        ends.append(Label(float(last[x].iloc[0]), float(last["test_loss"].mean()), name, colour))
    few = len(ends) <= FEW
    span, called = runs[x].max() / runs[x].min(), [end.text for end in ends] if few else []
    room = room_for(called, span, 9.5, WIDE)
    if x == "patch":
        patch_axis(axes, runs["patch"], room=room)
    else:
        cost_axis(axes, runs[x], AXES[x].label, room=math.log(room) / math.log(max(span, 2.0)))
    loss_axis(axes, runs["test_loss"])
    if few:
        label_ends(axes, ends)
    _key(axes, list(drawn), bands, AXES[x].letter, series=not few)


def _places(points: pd.DataFrame, x: str) -> np.ndarray:
    """Where a law is drawn: over its points and a little beyond."""
    low, high = points[x].min(), points[x].max()
    past = (high / low) ** 0.04
    return np.geomspace(low / past, high * past, 80)


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
    laws = [law for law in laws if law.n > len(law.parameters)]  # else it interpolates the points
    for law in laws:
        places = _places(points, x)
        axes.plot(places, law.predict(places), color=colour, linestyle=DASHES[law.form], linewidth=1.5)
    return laws


def _draw_band(axes: Axes, laws: Sequence[Fit], points: pd.DataFrame, x: str, colour: str) -> str:
    """The band of the last law whose parameters are identified, or else of the first. Returns why there is none: no law
    describes the points, they are of one run, or it is everywhere wider than the data; "" where it is drawn."""
    if not any(law.describes for law in laws):
        return NO_LAW
    if are_shared(points) and points["run_id"].nunique() == 1:
        return ONE_RUN
    law = next((law for law in reversed(laws) if all(law.identified.values())), laws[0])
    places = _places(points, x)
    low, high = law.band(places)
    span = points["test_loss"].max() / points["test_loss"].min()
    before = len(axes.collections)
    if np.isfinite(low).any() and np.nanmin(high / low) < WIDEST * span:
        draw_band(axes, law, places, colour)
    return "" if len(axes.collections) > before else TOO_WIDE


def _key(axes: Axes, forms: Sequence[str], bands: Mapping[str, str], letter: str, series: bool) -> None:
    """The legend of the laws and, where there are too many series to label, of the series. bands: why the interval of
    each series is not drawn, "" where it is."""
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
    if handles:
        axes.legend(handles=handles, frameon=False, fontsize=8.5, loc="lower left")


def _draw_seeds(axes: Axes, runs: pd.DataFrame, cost: str, value: str) -> None:
    """Every run as a small dot, in the colour of its series."""
    series = _series(runs)
    for name, (colour, _) in styles(series).items():
        axes.plot(series[name][cost], series[name][value], ".", color=colour, ms=3.5, alpha=0.7)


def _draw_frontier(axes: Axes, runs: pd.DataFrame, cost: str, metric: str | None) -> None:
    """One panel of the frontier figure: points, steps and axes."""
    value = metric or "test_loss"
    best = frontier(runs, cost, metric)
    known = {name: axis.label for name, axis in AXES.items()}
    known |= {"flops": known["flops_per_image"], "wall_time": "training time [s], log scale"}
    known |= {"published": "as published [%]"}
    known |= {column: f"{name} [%]" for column, name in HEADLINES.values()}
    cost_axis(axes, runs[cost], known.get(cost, f"{cost.replace('_', ' ')}, log scale"), room=0.1)
    right = axes.get_xlim()[1]
    at, steps = [*best[cost], right], [*best[value], best[value].iloc[-1]]
    axes.plot(np.repeat(at, 2)[1:], np.repeat(steps, 2)[:-1], color=INK, linewidth=1.2, zorder=1.5)
    series = _series(runs)
    for name, (colour, marker) in styles(series).items():
        its = series[name]
        style: LineStyle = {"color": colour, "ls": "", "marker": marker, "mew": 0, "ms": 7.5}
        on = its.index.isin(best.index)
        axes.plot(its.loc[~on, cost], its.loc[~on, value], alpha=FAINT, **style)
        axes.plot(its.loc[on, cost], its.loc[on, value], **style)
        if len(series) > FEW:
            axes.plot([], [], label=name, **style)
    if value != "test_loss":
        axes.set_ylabel(known.get(value, f"{value.replace('_', ' ')} [%]"))
        axes.margins(y=0.12)
        open_frame(axes)
    marks = axes.get_legend_handles_labels()[0]
    frontier_key = handle("Pareto frontier (filled)", marker="o", ms=7.5, linewidth=1.2)
    legend = partial(axes.legend, handles=[*marks, frontier_key], frameon=False, fontsize=8.5)
    if len(series) > FEW:
        legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    else:  # the corner of low cost and high accuracy is empty
        legend(loc="lower left" if "loss" in value else "lower right")


def _series(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Runs by series: a group, or a published model and its input."""
    if "group" in runs:
        return {name: runs[runs["group"] == group] for group, name in labels(runs).items()}
    known = [column for column in ("model", "input_px") if column in runs and runs[column].nunique() > 1]
    if not known:
        return {"runs": runs}
    named = runs[known[0]].astype(str)
    for column in known[1:]:
        named += " " + runs[column].astype(str) + " px"
    return {str(name): runs[named == name] for name in named.unique()}


def _frontier_labels(runs: pd.DataFrame, cost: str, metric: str | None) -> list[Label]:
    """Labels of the points: the patch size, and the series at its most expensive point, where there are few series.
    Those on the frontier come first."""
    value, series = metric or "test_loss", _series(runs)
    on = frontier(runs, cost, metric).index
    labels: list[tuple[int, Label]] = []
    for name, (colour, _) in styles(series).items():
        its = series[name]
        costliest = its[cost].idxmax()
        for at, run in its.iterrows():
            named = at == costliest and len(series) <= FEW
            text = f"{name} p{run['patch']:g}" if named else f"p{run['patch']:g}"
            rank = 0 if named else 1 if at in on else 2
            labels.append((rank, Label(float(run[cost]), float(run[value]), text, colour, named)))
    return [label for _, label in sorted(labels, key=lambda ranked: ranked[0])]
