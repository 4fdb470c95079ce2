"""Allocation figures: the lowest error for a budget, measured and by a law, and by patch size at equal FLOPs."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogFormatterSciNotation, LogLocator, NullLocator

from analysis.fitting.axes import AXES
from analysis.planning.allocation import Surface, by_patch, frontier
from analysis.plots.backbone_styles import COLOURS, styles
from analysis.plots.labels import Label, label_ends, label_points
from analysis.plots.style import INK, LineStyle, cost_axis, grid, handle, open_frame, patch_axis, round_ticks

MEASURED, LAW, FAINT = COLOURS[0], COLOURS[1], 0.35


def optimal_figure(
    surface: Surface, configured: pd.DataFrame, points: pd.DataFrame, budgets: Sequence[float]
) -> Figure:
    """Error against training FLOPs with the Pareto frontiers of the measurements and of the law; and the law's error by
    patch size for each budget.

    configured: of allocation.configurations.  points: of measured_pareto.measured.  budgets: [FLOPs]. Faint:
    extrapolation. "S 8/224": Small at 8 px patches on 224 px images."""
    figure, (left, right) = grid(2, 2, (4.6, 4.2))
    label = f"{surface.measure} [{surface.unit}], log scale"
    _draw_frontiers(left, configured, points, label)
    ends = _draw_budgets(right, configured, budgets, label)
    figure.suptitle(f"ImageNet-1k: error for a budget, by {surface.source}", x=0.02, ha="left", fontsize=11)
    figure.draw_without_rendering()
    label_ends(right, ends, size=8.5)
    on = points[points["frontier"]]
    label_points(
        left,
        [
            Label(r["training_flops"], r["y"], _name(r["model"], r["patch"], r["image"]), MEASURED, True)
            for r in on.to_dict("records")
        ],
        size=7,
    )
    return figure


def _draw_frontiers(axes: Axes, configured: pd.DataFrame, points: pd.DataFrame, label: str) -> None:
    best, on = frontier(configured), points[points["frontier"]]
    best = best[best["predicted"] <= points["y"].max() * 1.05]
    x = best["training_flops"]
    axes.fill_between(x, best["low"], best["high"], step="post", color=LAW, alpha=0.13, lw=0)
    axes.plot(x, best["predicted"], drawstyle="steps-post", color=LAW, linewidth=1.1, linestyle=(0, (4, 2)))
    known = best["beyond"] == ""
    style: LineStyle = {"ls": "", "marker": "s", "color": LAW, "mew": 1.2, "ms": 4.5}
    axes.plot(x[known], best.loc[known, "predicted"], **style)
    axes.plot(x[~known], best.loc[~known, "predicted"], alpha=FAINT, **style)
    axes.plot(points["training_flops"], points["y"], "o", color="0.72", ms=3.5)
    axes.plot(on["training_flops"], on["y"], drawstyle="steps-post", color=MEASURED, linewidth=1.4)
    axes.plot(on["training_flops"], on["y"], "o", color=MEASURED, ms=6)
    cost_axis(axes, pd.concat([points["training_flops"], x]), "training FLOPs, all stages, log scale")
    axes.set_xlim(left=axes.get_xlim()[0] / 3)  # room for the first labels
    axes.xaxis.set_major_locator(LogLocator(10))
    axes.xaxis.set_major_formatter(LogFormatterSciNotation(10))
    _error_axis(axes, pd.concat([points["y"], best["low"]]), label)
    marks = [
        handle("measured, Pareto frontier", marker="o", color=MEASURED, linewidth=1.4),
        handle("measured, others", marker="o", ms=3.5, color="0.72", ls=""),
        handle("law, Pareto frontier (faint: extrapolation)", marker="s", ms=4.5, color=LAW, linestyle=(0, (4, 2))),
        handle("95 % interval of one measurement", color=LAW, alpha=0.16, linewidth=8),
        handle("S 8/224: Small, 8 px patches, 224 px images", ls=""),
        handle("T Tiny, S Small, B Base, L Large", ls=""),
    ]
    axes.legend(handles=marks, frameon=False, fontsize=7.5, loc="upper right")
    axes.set_title("lowest error for a cost", loc="left", fontsize=10)


def _draw_budgets(axes: Axes, configured: pd.DataFrame, budgets: Sequence[float], label: str) -> list[Label]:
    """A line per budget over the affordable patch sizes. Returns the labels of the lines' ends."""
    ends: list[Label] = []
    drawn: list[pd.Series] = []
    for budget, (colour, marker) in reversed(
        styles(budgets).items()
    ):  # drawn in reverse, so that the smaller budget's mark is on top
        curve = by_patch(configured, float(budget))
        if curve.empty:
            continue
        style: LineStyle = {"color": colour, "marker": marker, "mew": 0, "ms": 4}
        axes.plot(curve["patch"], curve["predicted"], linewidth=1.4, **style)
        low = curve.iloc[int(curve["predicted"].argmin())]
        large: LineStyle = {**style, "ms": 9}
        axes.plot([low["patch"]], [low["predicted"]], ls="", **large)
        text = f"{budget:.0e} FLOPs".replace("+", "")
        ends.append(Label(float(curve["patch"].min()), float(curve["predicted"].iloc[0]), text, colour))
        drawn.append(curve["predicted"])
    patch_axis(axes, configured["patch"], room=2.2)
    axes.set_xlabel(AXES["patch"].label)
    _error_axis(axes, pd.concat(drawn) if drawn else configured["predicted"], f"predicted {label}")
    axes.legend(
        handles=[handle("large: best patch size of a budget", marker="o", ms=9, color=INK, ls="")],
        frameon=False,
        fontsize=8,
        loc="upper right",
    )
    axes.set_title("law: best model and image size per patch size", loc="left", fontsize=10)
    return ends


def _error_axis(axes: Axes, values: pd.Series, label: str) -> None:
    axes.set_yscale("log")
    axes.set_ylim(values.min() * 0.97, values.max() * 1.05)
    axes.yaxis.set_major_locator(FixedLocator(round_ticks(*axes.get_ylim())))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylabel(label)
    open_frame(axes)


def _name(model: str, patch: float, image: float) -> str:
    """Adventurer-Tiny at 8 px on 128 px is T 8/128."""
    return f"{model.split('-')[-1][0]} {patch:g}/{image:g}"
