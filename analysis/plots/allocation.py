"""Allocation figures: the lowest error for a budget, measured and by a law, and by patch size at equal FLOPs."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation, LogLocator

from analysis.fitting.axes import AXES
from analysis.planning.allocation import Surface, by_patch, frontier
from analysis.plots.backbone_styles import COLOURS, styles
from analysis.plots.labels import Label, label_ends, label_points, room_for
from analysis.plots.scales import cost_axis, patch_axis, percent_axis
from analysis.plots.style import INK, LineStyle, grid, handle, heading, key, panel_title, x_label

MEASURED, LAW, FAINT = COLOURS[0], COLOURS[1], 0.35
ENTRIES = (
    handle("measured, Pareto frontier", marker="o", color=MEASURED, linewidth=1.4),
    handle("measured, others", marker="o", ms=3.5, color="0.72", ls=""),
    handle("law, Pareto frontier (faint: extrapolation)", marker="s", ms=4.5, color=LAW, linestyle=(0, (4, 2))),
    handle("95 % interval of one measurement", color=LAW, alpha=0.16, linewidth=8),
    handle("large: best patch size of a budget", marker="o", ms=9, color=INK, ls=""),
    handle("S 8/224: Small, 8 px patches, 224 px images", ls=""),
    handle("T Tiny, B Base, L Large", ls=""),
)


def optimal_figure(
    surface: Surface, configured: pd.DataFrame, points: pd.DataFrame, budgets: Sequence[float]
) -> Figure:
    """Error against training FLOPs with the Pareto frontiers of the measurements and of the law; and the law's error by
    patch size for each budget.

    configured: of allocation.configurations.  points: of measured_pareto.measured.  budgets: [FLOPs]. Faint:
    extrapolation. "S 8/224": Small at 8 px patches on 224 px images."""
    figure, (left, right) = grid(2, 2, 3.2)
    label = f"{surface.measure} [{surface.unit}], log scale"
    _draw_frontiers(left, configured, points, label)
    ends = _draw_budgets(right, configured, budgets, label)
    heading(figure, f"ImageNet-1k: error for a budget, by {surface.source}")
    key(figure, ENTRIES)
    label_ends(right, ends)
    on = points[points["frontier"]]
    label_points(
        left,
        [
            Label(r["training_flops"], r["y"], _name(r["model"], r["patch"], r["image"]), MEASURED, True)
            for r in on.to_dict("records")
        ],
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
    percent_axis(axes, pd.concat([points["y"], best["low"]]), label)
    panel_title(axes, "lowest error for a cost")


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
    span = configured["patch"].max() / configured["patch"].min()
    patch_axis(axes, configured["patch"], room_for(axes, [end.text for end in ends], span))
    x_label(axes, AXES["patch"].label)
    percent_axis(axes, pd.concat(drawn) if drawn else configured["predicted"], f"predicted {label}")
    panel_title(axes, "law: best model and image size per patch size")
    return ends


def _name(model: str, patch: float, image: float) -> str:
    """Adventurer-Tiny at 8 px on 128 px is T 8/128."""
    return f"{model.split('-')[-1][0]} {patch:g}/{image:g}"
