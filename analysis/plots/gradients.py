"""Gradients figure: variances and the squared norm of the mean by patch size, and the noise scale."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.backbone_styles import COLOURS, MARKERS
from analysis.plots.scales import patch_axis
from analysis.plots.style import INK, grid, key, open_frame, y_label

READINGS = {
    "grad_signal": "squared norm of the mean gradient",
    "grad_noise": "variance of an image's gradient",
    "token_noise": "variance of a token's gradient",
}


def gradients_figure(whole: pd.DataFrame) -> Figure:
    """whole: a row per patch size [px], over all parameters: columns patch, noise_scale and READINGS. Each reading is
    relative to that of the largest patch size; what is below 0 or unknown is left out."""
    several = len(whole) > 1
    figure, axes = grid(2 if several else 1, 2, 2.7)
    axes[-1].plot(whole["patch"], whole["noise_scale"], color=INK, marker="o", ms=5)
    y_label(axes[-1], "noise scale [images]")
    if several:
        largest = whole["patch"] == whole["patch"].max()
        for n, (column, name) in enumerate(READINGS.items()):
            values = (whole[column] / whole.loc[largest, column].item()).where(lambda ratio: ratio > 0)
            axes[0].plot(whole["patch"], values, color=COLOURS[n], marker=MARKERS[n], ms=5, label=name)
        axes[0].set_yscale("log")
        y_label(axes[0], "relative to the largest patch size")
    for axis in axes:
        patch_axis(axis, whole["patch"])
        open_frame(axis)
    key(figure, axes[0].get_legend_handles_labels()[0] if several else [])
    return figure
