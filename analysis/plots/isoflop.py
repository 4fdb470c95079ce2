"""The isoFLOP figure: loss against patch size at budgets of training FLOPs."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.backbone_styles import styles
from analysis.plots.labels import Label, label_ends
from analysis.plots.style import grid, loss_axis, patch_axis


def isoflop_figure(points: pd.DataFrame, table: pd.DataFrame, name: str) -> Figure:
    """Lines: the law with the best model at each patch size (table of planning.isoflop), with 95 % bands; points: runs,
    in the colour of the nearest budget; large: the best patch size of a budget."""
    figure, (axes,) = grid(1, 1, (6.4, 4.2))
    looks = styles(float(budget) for budget in table["budget"].unique())
    budgets, ends = np.array(list(looks)), []
    nearest = abs(np.log(points["training_flops"].to_numpy()[:, None] / budgets)).argmin(axis=1)
    for number, (budget, (colour, marker)) in enumerate(looks.items()):
        its = table[table["budget"] == budget].sort_values("patch")
        axes.plot(its["patch"], its["predicted"], color=colour, lw=1.4)
        axes.fill_between(its["patch"], its["low"], its["high"], color=colour, alpha=0.12, lw=0)
        best = its.loc[[its["predicted"].idxmin()]]
        axes.plot(best["patch"], best["predicted"], marker, color=colour, ms=10, mfc="none", ls="")
        runs = points[nearest == number]
        axes.plot(runs["patch"], runs["y"], marker, color=colour, ms=4, alpha=0.7, ls="")
        text = f"{budget:.1e} FLOPs".replace("+", "")
        ends.append(Label(float(its["patch"].iloc[0]), float(its["predicted"].iloc[0]), text, colour))
    patch_axis(axes, points["patch"], room=2.2)
    loss_axis(axes, points["y"])
    label_ends(axes, ends, size=8)
    axes.set_title(f"{name}: lines law, points runs of about that cost, rings best", loc="left", fontsize=9)
    return figure
