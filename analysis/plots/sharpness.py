"""Sharpness figure: losses along a random direction by patch size, and the top eigenvalue of the Hessian by patch
size."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.backbone_styles import COLOURS, MARKERS
from analysis.plots.scales import patch_axis
from analysis.plots.style import INK, grid, key, open_frame, x_label, y_label


def sharpness_figure(tops: pd.DataFrame, lines: pd.DataFrame) -> Figure:
    """tops: columns patch, eigenvalue; lines: patch, distance, loss. One patch size has no second panel."""
    several = len(tops) > 1
    figure, axes = grid(2 if several else 1, 2, 2.7)
    looks = {patch: (COLOURS[n % 6], MARKERS[n % 6]) for n, patch in enumerate(tops["patch"])}
    for patch, line in lines.groupby("patch", sort=False):
        colour, marker = looks[patch]
        axes[0].plot(line["distance"], line["loss"], color=colour, marker=marker, ms=4, label=f"{patch} px")
    axes[0].set_xticks([-1, -0.5, 0, 0.5, 1])
    x_label(axes[0], "distance along the direction [norms of the filters]")
    y_label(axes[0], "test loss [nats]")
    open_frame(axes[0])
    if several:
        axes[1].plot(tops["patch"], tops["eigenvalue"], color=INK, linewidth=1)
        for patch, value in zip(tops["patch"], tops["eigenvalue"], strict=True):
            axes[1].plot(patch, value, color=looks[patch][0], marker=looks[patch][1], ms=7)
        patch_axis(axes[1], tops["patch"])
        axes[1].margins(y=0.1)
        axes[1].set_ylim(bottom=min(0.0, 1.1 * tops["eigenvalue"].min()))
        y_label(axes[1], "top eigenvalue of the Hessian [nats]")
        open_frame(axes[1])
    key(figure, axes[0].get_legend_handles_labels()[0], "patch")
    return figure
