"""Figure of patch embeddings: law and exponent of each one over patch size, and test loss against training FLOPs."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.backbone_styles import styles
from analysis.plots.exponents import draw_exponents, draw_laws
from analysis.plots.scales import cost_axis, loss_axis
from analysis.plots.style import grid, handle, heading, key, panel_title
from analysis.records.run_frame import EMBEDDING


def embedding_figure(table: pd.DataFrame, slopes: pd.DataFrame, title: str) -> Figure:
    """A row of panels per backbone: the laws on equal images and their exponents (exponents.py), and test loss against
    training FLOPs, log-log, lines through means over seeds, hollow marks for runs with the FLOPs of the convolution.

    table, slopes: of analysis/studies/embeddings.py, embedding_table and by_embedding."""
    backbones, looks = list(table["backbone"].unique()), styles(table[EMBEDDING].unique())
    figure, spots = grid(3 * len(backbones), 3, 2.3, least=2.1)
    for row, backbone in enumerate(backbones):
        by_patch, exponents, by_flops = spots[3 * row : 3 * row + 3]
        its = table[table["backbone"] == backbone]
        draw_laws(by_patch, its[its["equal"] == "images"], EMBEDDING, looks)
        draw_exponents(exponents, slopes[slopes["backbone"] == backbone], EMBEDDING, looks)
        for name, runs in its.groupby(EMBEDDING, sort=False):
            colour, marker = looks[name]
            own, equal = runs[runs["equal"] == "images"], runs[runs["equal"] == "FLOPs"]
            means = own.groupby("patch")[["training_flops", "test_loss"]].mean().sort_values("training_flops")
            by_flops.plot(means["training_flops"], means["test_loss"], marker, ls="-", color=colour, ms=5, lw=1.2)
            by_flops.plot(equal["training_flops"], equal["test_loss"], marker, color=colour, ms=6, mfc="none")
        cost_axis(by_flops, its["training_flops"], "training FLOPs, log scale")
        for axes in (by_patch, by_flops):
            loss_axis(axes, its["test_loss"])
        for axes in (by_patch, exponents, by_flops):
            panel_title(axes, backbone)
    handles = [handle(name, color=colour, marker=marker, ms=5) for name, (colour, marker) in looks.items()]
    if (table["equal"] == "FLOPs").any():
        handles.append(handle("hollow: the FLOPs of conv", ls="", marker="o", mfc="none", ms=6))
    heading(figure, title)
    key(figure, handles)
    return figure
