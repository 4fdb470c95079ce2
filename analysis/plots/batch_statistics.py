"""BatchNorm figure: the loss with running statistics and with those of each batch, by patch size."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.backbone_styles import COLOURS, MARKERS
from analysis.plots.scales import patch_axis
from analysis.plots.style import grid, key, open_frame, y_label

LOSSES = {"loss_running": "running statistics", "loss_batch": "statistics of each batch"}


def batch_statistics_figure(table: pd.DataFrame) -> Figure:
    """table: a row per patch size [px], columns patch and LOSSES [nats]."""
    figure, (axis,) = grid(1, 1, 2.7)
    for n, (column, name) in enumerate(LOSSES.items()):
        axis.plot(table["patch"], table[column], color=COLOURS[n], marker=MARKERS[n], ms=5, label=name)
    patch_axis(axis, table["patch"])
    y_label(axis, "test loss [nats]")
    open_frame(axis)
    key(figure, axis.get_legend_handles_labels()[0])
    return figure
