"""Optimal figures: what a budget buys, as a frontier, and what each patch size buys for equal cost."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogFormatterSciNotation, LogLocator, NullLocator

from analysis.drawing import (
    COLOURS,
    Label,
    cost_axis,
    grid,
    handle,
    label_points,
    open_frame,
    patch_axis,
    round_ticks,
    styles,
)
from analysis.optimal import Surface, equal_cost, frontier


def optimal_figure(surface: Surface, configured: pd.DataFrame, budgets: Sequence[float]) -> Figure:
    """Predicted error against FLOPs of training, the frontier joined; and against patch side for equal FLOPs.

    configured: of optimal.configurations.  budgets: of the curves of equal cost [FLOPs]. Hollow: beyond the law's
    points. T 8/128: Tiny at 8 px patches on 128 px images."""
    figure, (left, right) = grid(2, 2, (6.6, 5.0))
    best = frontier(configured)
    _draw_frontier(left, configured, best, f"predicted {surface.measure} [{surface.unit}], log scale")
    labels = _draw_equal_cost(right, surface, configured, budgets)
    figure.suptitle(f"What a budget buys, by the law of {surface.source}", x=0.02, ha="left", fontsize=12)
    named = [Label(r["training_flops"], r["predicted"], _name(r), COLOURS[0]) for r in best.to_dict("records")]
    label_points(left, named)
    label_points(right, labels)
    return figure


def _draw_frontier(axes: Axes, configured: pd.DataFrame, best: pd.DataFrame, label: str) -> None:
    axes.plot(configured["training_flops"], configured["predicted"], "o", color="0.75", ms=3.5)
    axes.plot(best["training_flops"], best["predicted"], drawstyle="steps-post", color=COLOURS[0], linewidth=1.3)
    axes.fill_between(
        best["training_flops"], best["low"], best["high"], step="post", color=COLOURS[0], alpha=0.13, lw=0
    )
    known = best["beyond"] == ""
    style: dict[str, Any] = {"ls": "", "marker": "o", "color": COLOURS[0], "mew": 1.4, "ms": 6.0}
    axes.plot(best.loc[known, "training_flops"], best.loc[known, "predicted"], **style)
    axes.plot(best.loc[~known, "training_flops"], best.loc[~known, "predicted"], mfc="white", **style)
    cost_axis(axes, configured["training_flops"], "FLOPs of training, log scale")
    axes.xaxis.set_major_locator(LogLocator(10))
    axes.xaxis.set_major_formatter(LogFormatterSciNotation(10))
    _error_axis(axes, configured["predicted"], label)
    marks = [
        handle("frontier: nothing cheaper is better", marker="o", color=COLOURS[0]),
        handle("beyond what was measured", marker="o", mfc="white", color=COLOURS[0], ls=""),
        handle("another configuration", marker="o", ms=3.5, color="0.75", ls=""),
        handle("95 % interval", color=COLOURS[0], alpha=0.16, linewidth=8),
    ]
    axes.legend(handles=marks, frameon=False, fontsize=8.5, loc="upper right")
    axes.set_title("the least error for a cost", loc="left", fontsize=11)


def _draw_equal_cost(axes: Axes, surface: Surface, configured: pd.DataFrame, budgets: Sequence[float]) -> list[Label]:
    labels: list[Label] = []
    drawn: list[pd.Series] = []
    for budget, (colour, marker) in styles(budgets).items():
        curve = equal_cost(surface, configured, float(budget))
        if curve.empty:
            continue
        axes.plot(curve["patch"], curve["predicted"], color=colour, marker=marker, mfc="white", mew=1.4, linewidth=1.4)
        low, last = curve.sort_values("predicted").iloc[0], curve.iloc[0]
        axes.plot([low["patch"]], [low["predicted"]], ls="", color=colour, marker=marker, ms=7)
        text = f"{budget:.0e} FLOPs".replace("+", "")
        labels.append(Label(float(last["patch"]), float(last["predicted"]), text, colour, True))
        drawn.append(curve["predicted"])
    patch_axis(axes, configured["patch"], room=1.5)
    _error_axis(axes, pd.concat(drawn) if drawn else configured["predicted"], "")
    axes.set_title("equal FLOPs of training; filled: the best patch", loc="left", fontsize=11)
    return labels


def _error_axis(axes: Axes, values: pd.Series, label: str) -> None:
    axes.set_yscale("log")
    axes.set_ylim(values.min() * 0.93, values.max() * 1.1)
    axes.yaxis.set_major_locator(FixedLocator(round_ticks(*axes.get_ylim())))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylabel(label)
    open_frame(axes)


def _name(row: dict[Any, Any]) -> str:
    """Adventurer-Tiny at 8 px on 128 px is T 8/128."""
    return f"{str(row['model']).split('-')[-1][0]} {row['patch']:g}/{row['image']:g}"
