"""Frontier figure: accuracy or test loss of own runs, or of published models, against cost, with the Pareto frontier.

The function takes the frame of a RunSet (load("results").frame) and returns a Figure; scripts write files.
"""

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.fitting.axes import AXES
from analysis.planning.pareto import comparable, frontier, over_seeds
from analysis.plots.backbone_styles import styles
from analysis.plots.labels import Label, label_points
from analysis.plots.panels import panels_of, set_titles
from analysis.plots.scales import cost_axis, loss_axis
from analysis.plots.style import (
    FEW,
    INK,
    LineStyle,
    grid,
    handle,
    key,
    open_frame,
    y_label,
)
from analysis.records.group_labels import labels
from scaling.runs.record import HEADLINES

FAINT = 0.35  # opacity of runs that are not on the Pareto frontier


def frontier_figure(frame: pd.DataFrame, cost: str = "flops_per_image", metric: str | None = None) -> Figure:
    """Accuracy against cost: every run a point, those on the Pareto frontier filled and joined by steps, the others
    faint. Several seeds are their mean, with each seed as a dot.

    frame: a row per run, with a panel per task and data set; or published numbers, with columns model, patch and those
    named.  cost: a column, such as "flops_per_image" [FLOPs].  metric: a column [%], higher is better; None: test_loss
    [nats], lower is better.  Labels: p16 for patches of 16 px, where there is room.  Raises ValueError where no run has
    both."""
    value = metric or "test_loss"
    panels = panels_of(comparable(frame, cost, metric), f"{metric or 'a test loss'} and {cost}")
    means = {what: over_seeds(its, cost, value) for what, its in panels.items()}
    figure, spots = grid(len(panels), 2, 2.9)
    entries: list[Artist] = []
    for axes, (what, its) in zip(spots, panels.items(), strict=True):
        if len(its) > len(means[what]):
            _draw_seeds(axes, its, cost, value)
        entries += _draw_frontier(axes, means[what], cost, metric, its[cost])
        if value == "test_loss":
            loss_axis(axes, its[value])
    set_titles(figure, spots, panels, "Accuracy against cost")
    key(figure, [*entries, handle("Pareto frontier (filled)", marker="o", ms=6, linewidth=1.2)])
    for axes, its in zip(spots, means.values(), strict=True):
        label_points(axes, _frontier_labels(its, cost, metric))
    return figure


def _draw_seeds(axes: Axes, runs: pd.DataFrame, cost: str, value: str) -> None:
    """Every run as a small dot, in the colour of its series."""
    series = _series(runs)
    for name, (colour, _) in styles(series).items():
        axes.plot(series[name][cost], series[name][value], ".", color=colour, ms=3.5, alpha=0.7)


def _draw_frontier(axes: Axes, runs: pd.DataFrame, cost: str, metric: str | None, costs: pd.Series) -> list[Artist]:
    """One panel of the frontier figure: points, steps and axes, which reach over all costs, those of single seeds too.
    Returns the entries of the legend."""
    value = metric or "test_loss"
    best = frontier(runs, cost, metric)
    known = {name: axis.label for name, axis in AXES.items()}
    known |= {"flops": known["flops_per_image"], "wall_time": "training time [s], log scale"}
    known |= {"published": "as published [%]"}
    known |= {column: f"{name} [%]" for column, name in HEADLINES.values()}
    cost_axis(axes, costs, known.get(cost, f"{cost.replace('_', ' ')}, log scale"), room=0.1)
    right = axes.get_xlim()[1]
    at, steps = [*best[cost], right], [*best[value], best[value].iloc[-1]]
    axes.plot(np.repeat(at, 2)[1:], np.repeat(steps, 2)[:-1], color=INK, linewidth=1.2, zorder=1.5)
    series = _series(runs)
    for name, (colour, marker) in styles(series).items():
        its = series[name]
        style: LineStyle = {"color": colour, "ls": "", "marker": marker, "mew": 0, "ms": 6}
        on = its.index.isin(best.index)
        axes.plot(its.loc[~on, cost], its.loc[~on, value], alpha=FAINT, **style)
        axes.plot(its.loc[on, cost], its.loc[on, value], **style)
        if len(series) > FEW:
            axes.plot([], [], label=name, **style)
    if value != "test_loss":
        y_label(axes, known.get(value, f"{value.replace('_', ' ')} [%]"))
        axes.margins(y=0.12)
        open_frame(axes)
    return list(axes.get_legend_handles_labels()[0])


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
