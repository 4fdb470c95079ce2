"""The isoFLOP figure: loss against patch size at budgets of training FLOPs."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.backbone_styles import styles
from analysis.plots.labels import Label, label_ends, room_for
from analysis.plots.scales import loss_axis, patch_axis
from analysis.plots.style import grid, handle, heading, key, panel_title

NEAR = 1.5  # factor of a budget within which a run has its colour


def isoflop_figure(curves: Mapping[str, tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]]) -> Figure:
    """Test loss against patch size, log-log, a panel per law. Lines: the law at a budget, each patch size with its best
    model, and 95 % bands; ring and bar: the best patch size and its 95 % interval; points: runs, in the colour of a
    budget within a factor of NEAR, else grey.

    curves: by title the runs (of size_points), the curves (of isoflop) and the best patch sizes (of best_patches)."""
    figure, spots = grid(len(curves), 2, 3.0)
    for axes, (title, (points, table, best)) in zip(spots, curves.items(), strict=True):
        _draw(axes, points, table, best)
        panel_title(axes, title)
    marks = [
        handle("law and 95 % band", linewidth=1.4),
        handle("best patch size, 95 % interval", marker="o", ms=10, mfc="none", linewidth=3, alpha=0.6),
        handle(f"run within {NEAR:g} times the budget", marker="o", ms=4.5, ls=""),
        handle("other run", marker="o", ms=3, color="0.75", ls=""),
    ]
    heading(figure, "Test loss by patch size at equal training FLOPs")
    key(figure, marks)
    for axes, (_, table, _) in zip(spots, curves.values(), strict=True):
        label_ends(axes, _ends(table))
    return figure


def _draw(axes: Axes, points: pd.DataFrame, table: pd.DataFrame, best: pd.DataFrame) -> None:
    axes.plot(points["patch"], points["y"], "o", color="0.75", ms=3)
    for budget, (colour, marker) in _looks(table).items():
        its = table[table["budget"] == budget].sort_values("patch")
        axes.plot(its["patch"], its["predicted"], color=colour, linewidth=1.4)
        axes.fill_between(its["patch"], its["low"], its["high"], color=colour, alpha=0.12, linewidth=0)
        near = points[abs(np.log(points["training_flops"] / budget)) <= np.log(NEAR)]
        axes.plot(near["patch"], near["y"], marker, color=colour, ms=4.5, mec="white", mew=0.4)
        pick = best[best["budget"] == budget]
        axes.plot(pick["patch"], pick["predicted"], marker, color=colour, ms=10, mfc="none", mew=1.5)
        axes.hlines(pick["predicted"], pick["finest"], pick["coarsest"], color=colour, linewidth=3, alpha=0.6)
    texts = [end.text for end in _ends(table)]
    patch_axis(axes, points["patch"], room_for(axes, texts, points["patch"].max() / points["patch"].min()))
    loss_axis(axes, pd.concat([points["y"], table["predicted"]]))


def _looks(table: pd.DataFrame) -> dict[float, tuple[str, str]]:
    return styles(float(budget) for budget in table["budget"].unique())


def _ends(table: pd.DataFrame) -> list[Label]:
    """The budgets, as labels at the finest patch size of each."""
    ends = []
    for budget, (colour, _) in _looks(table).items():
        finest = table[table["budget"] == budget].sort_values("patch").iloc[0]
        text = f"{budget:.1e} FLOPs".replace("+", "")
        ends.append(Label(float(finest["patch"]), float(finest["predicted"]), text, colour))
    return ends
