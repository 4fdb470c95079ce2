"""Figure of a learning-rate study: held-out loss against the learning rate, a line per patch size."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.plots.backbone_styles import COLOURS, MARKERS
from analysis.plots.scales import loss_axis
from analysis.plots.style import grid, handle, heading, key, panel_title, x_label, y_label

RATE = "learning rate, log scale"
ROOM = 1.4  # factor by which the axis goes beyond the rates


def rate_figure(runs: pd.DataFrame, table: pd.DataFrame, title: str) -> Figure:
    """Loss on held-out training images against the learning rate, log-log: a panel per backbone, a line per patch size
    through the means over seeds, every seed a small point. The bar at the foot is the 95 % interval of the best rate,
    with a mark at the minimum.

    runs: backbone, patch [px], lr, seed, val_loss [nats].  table: of learning_rates.RateStudy, of all backbones."""
    known_ends = (table["lr_low"] > 0) | np.isfinite(table["lr_high"])
    table = table.assign(drawn=known_ends)
    known = runs.merge(table[["backbone", "patch"]])
    backbones = list(table["backbone"].unique())
    figure, spots = grid(len(backbones), 2, 2.9, sharey=True)
    entries: list[Line2D] = []
    for axes, backbone in zip(spots, backbones, strict=True):
        its = known[known["backbone"] == backbone]
        best = table[table["backbone"] == backbone].to_dict("records")
        rates = sorted(its["lr"].unique())
        axes.set_xscale("log", base=2)
        loss_axis(axes, known["val_loss"])
        foot, top = axes.get_ylim()
        gap = (top / foot) ** 0.045
        axes.set_ylim(foot / gap ** table["drawn"].groupby(table["backbone"]).sum().max(), top)
        for number, row in enumerate(best):
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            of_patch = its[its["patch"] == row["patch"]]
            means = np.exp(np.log(of_patch["val_loss"]).groupby(of_patch["lr"]).mean())
            axes.plot(of_patch["lr"], of_patch["val_loss"], ".", color=colour, ms=4, alpha=0.6)
            axes.plot(means.index, means, marker=marker, color=colour, linewidth=1.5, ms=6)
            entries.append(handle(f"patch {row['patch']}", color=colour, marker=marker, linewidth=1.5, ms=6))
            if row["drawn"]:
                height = foot / gap ** (sum(one["drawn"] for one in best[:number]) + 0.5)
                ends = np.clip([row["lr_low"], row["lr_high"]], rates[0] / ROOM, rates[-1] * ROOM)
                axes.plot(ends, [height, height], color=colour, linewidth=3, alpha=0.5)
                if ends[0] < row["lr_best"] < ends[1]:
                    axes.plot(row["lr_best"], height, marker, color=colour, ms=6)
        rate_axis(axes, rates, rates)
        y_label(axes, "loss on held-out training images [nats]" if axes is figure.axes[0] else "")
        panel_title(axes, str(backbone))
    if table["drawn"].any():
        entries.append(handle("best rate, 95 %", alpha=0.5, linewidth=3))
    heading(figure, title)
    key(figure, entries)
    return figure


def rate_axis(axes: Axes, rates: Sequence[float], marked: Sequence[float]) -> None:
    """The axis of learning rates from the first to the last of `rates`, with numbers at the marked ones."""
    axes.xaxis.set_major_locator(FixedLocator(marked))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
    axes.set_xlim(rates[0] / ROOM, rates[-1] * ROOM)
    x_label(axes, RATE)
