"""Figure of the order of patch sizes: test loss along runs against their training FLOPs and their seconds."""

from itertools import cycle

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from analysis.plots.backbone_styles import LINES, styles
from analysis.plots.scales import cost_axis, loss_axis
from analysis.plots.style import grid, handle, heading, key, panel_title

AXES = {"flops": "cumulated training FLOPs, log scale", "seconds": "training time [s], log scale"}


def order_figure(curves: pd.DataFrame, title: str) -> Figure:
    """Test loss at the smallest patch size, log-log: a row of panels per backbone, one for each cost. Lines go through
    the means over seeds at equal steps, and end in a mark for every seed.

    curves: of analysis/studies/patch_order.py, order_curves; several lengths of an order are lines of one colour."""
    backbones, looks = list(curves["backbone"].unique()), styles(curves["order"].unique())
    dashes = dict(zip(looks, cycle(LINES), strict=False))
    figure, spots = grid(2 * len(backbones), 2, 2.5)
    for place, axes in enumerate(spots):
        backbone, cost = backbones[place // 2], list(AXES)[place % 2]
        its = curves[curves["backbone"] == backbone]
        for (order, images), runs in its.groupby(["order", "images"], sort=False):
            colour, marker = looks[order]
            shortest = images == its.loc[its["order"] == order, "images"].min()
            means = runs.groupby("step")[[cost, "test_loss"]].mean()
            axes.plot(
                means[cost], means["test_loss"], color=colour, ls=dashes[order], linewidth=1.4 if shortest else 0.7
            )
            ends = runs[runs["share"] == 1]
            axes.plot(ends[cost], ends["test_loss"], marker, color=colour, ms=5, mec="white", mew=0.5)
        cost_axis(axes, its[cost], AXES[cost])
        if cost == "seconds":
            axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
        loss_axis(axes, its["test_loss"])
        panel_title(axes, backbone)
    handles = [
        handle(order, color=colour, marker=marker, ms=5, ls=dashes[order]) for order, (colour, marker) in looks.items()
    ]
    handles.append(handle("thin: a longer run", linewidth=0.7))
    heading(figure, title)
    key(figure, handles)
    return figure
