"""Figure of a learning-rate study: held-out loss against the learning rate, a line per patch size."""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.plots.backbone_styles import COLOURS, MARKERS
from analysis.plots.style import handle, loss_axis

LABEL = "learning rate, log scale"


def rate_figure(runs: pd.DataFrame, table: pd.DataFrame, title: str) -> Figure:
    """Loss on held-out training images against the learning rate, log-log: a panel per backbone, a line per patch size
    through the means over seeds, every seed a small point. The bar at the foot is the 95 % interval of the best rate,
    with a mark at the minimum.

    runs: backbone, patch [px], lr, seed, val_loss [nats].  table: of learning_rates.RateStudy, of all backbones."""
    backbones = list(table["backbone"].unique())
    figure = Figure(figsize=(4.4 * len(backbones), 4.2), layout="constrained")
    for axes, backbone in zip(
        figure.subplots(1, len(backbones), sharey=True, squeeze=False)[0], backbones, strict=True
    ):
        its = runs[runs["backbone"] == backbone]
        best = table[table["backbone"] == backbone].to_dict("records")
        rates = sorted(its["lr"].unique())
        axes.set_xscale("log", base=2)
        loss_axis(axes, its["val_loss"])
        foot, top = axes.get_ylim()
        gap = (top / foot) ** 0.045
        axes.set_ylim(foot / gap ** len(best), top)
        handles = []
        for number, row in enumerate(best):
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            of_patch = its[its["patch"] == row["patch"]]
            means = np.exp(np.log(of_patch["val_loss"]).groupby(of_patch["lr"]).mean())
            axes.plot(of_patch["lr"], of_patch["val_loss"], ".", color=colour, ms=4, alpha=0.6)
            axes.plot(means.index, means, marker=marker, color=colour, linewidth=1.5, ms=6)
            handles.append(handle(f"patch {row['patch']}", color=colour, marker=marker, linewidth=1.5, ms=6))
            if row["lr_low"] > 0 and math.isfinite(row["lr_high"]):
                height = foot / gap ** (number + 0.5)
                axes.plot([row["lr_low"], row["lr_high"]], [height, height], color=colour, linewidth=3, alpha=0.5)
                axes.plot(row["lr_best"], height, marker, color=colour, ms=6)
        axes.xaxis.set_major_locator(FixedLocator(rates))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
        axes.set_xlim(rates[0] / 1.4, rates[-1] * 1.4)
        axes.set_xlabel(LABEL)
        axes.set_ylabel("loss on held-out training images [nats]" if axes is figure.axes[0] else "")
        axes.set_title(str(backbone), loc="left", fontsize=10)
        handles.append(handle("best rate, 95 %", alpha=0.5, linewidth=3))
        axes.legend(
            handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, frameon=False, fontsize=8.5
        )
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    return figure
