"""The isoFLOP figure: loss against patch size at budgets of training FLOPs."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.backbone_styles import styles
from analysis.plots.labels import Label, label_ends
from analysis.plots.style import grid, handle, loss_axis, patch_axis

NEAR = 1.5  # factor of a budget within which a run has its colour


def isoflop_figure(curves: Mapping[str, tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]]) -> Figure:
    """Test loss against patch size, log-log, a panel per law. Lines: the law at a budget, each patch size with its best
    model, and 95 % bands; ring and bar: the best patch size and its 95 % interval; points: runs, in the colour of a
    budget within a factor of NEAR, else grey.

    curves: by title the runs (of size_points), the curves (of isoflop) and the best patch sizes (of best_patches)."""
    figure, spots = grid(len(curves), 2, (6.4, 4.6))
    for axes, (title, (points, table, best)) in zip(spots, curves.items(), strict=True):
        _draw(axes, points, table, best)
        axes.set_title(title, loc="left", fontsize=10)
    marks = [
        handle("law and 95 % band", linewidth=1.4),
        handle("best patch size, 95 % interval", marker="o", ms=10, mfc="none", linewidth=3, alpha=0.6),
        handle(f"run within {NEAR:g} times the budget", marker="o", ms=4.5, ls=""),
        handle("other run", marker="o", ms=3, color="0.75", ls=""),
    ]
    columns = 2 if len(curves) == 1 else 4
    figure.legend(handles=marks, frameon=False, fontsize=8, loc="outside lower left", ncols=columns)
    figure.suptitle("Test loss by patch size at equal training FLOPs", x=0.02, ha="left", fontsize=11)
    figure.draw_without_rendering()
    for axes, (_, table, _) in zip(spots, curves.values(), strict=True):
        label_ends(axes, _ends(table), size=8)
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
    patch_axis(axes, points["patch"], room=2.6)
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
