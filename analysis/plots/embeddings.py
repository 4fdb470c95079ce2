"""Figure of patch embeddings: the law of each one over patch size, and test loss against training FLOPs."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.backbone_styles import styles
from analysis.plots.style import cost_axis, grid, handle, loss_axis, patch_axis
from analysis.records.run_frame import EMBEDDING


def embedding_figure(table: pd.DataFrame, title: str) -> Figure:
    """A row of panels per backbone, log-log: test loss against patch size, every seed a mark, with the power law of
    each embedding through all seeds; and against training FLOPs, lines through means over seeds, hollow marks for runs
    with the FLOPs of the convolution.

    table: of analysis/studies/embeddings.py, embedding_table."""
    backbones, looks = list(table["backbone"].unique()), styles(table[EMBEDDING].unique())
    figure, spots = grid(2 * len(backbones), 2, (4.6, 3.6))
    for row, backbone in enumerate(backbones):
        by_patch, by_flops = spots[2 * row : 2 * row + 2]
        its = table[table["backbone"] == backbone]
        whole = its[its["equal"] == "images"]
        for name, runs in its.groupby(EMBEDDING, sort=False):
            colour, marker = looks[name]
            own, equal = runs[runs["equal"] == "images"], runs[runs["equal"] == "FLOPs"]
            by_patch.plot(own["patch"], own["test_loss"], marker, color=colour, ms=5, mec="white", mew=0.5)
            if own["patch"].nunique() > 1:
                alpha, scale = np.polyfit(np.log(own["patch"]), np.log(own["test_loss"]), 1)
                at = np.geomspace(own["patch"].min(), own["patch"].max(), 2)
                by_patch.plot(at, np.exp(scale) * at**alpha, color=colour, linewidth=1.2)
            means = own.groupby("patch")[["training_flops", "test_loss"]].mean().sort_values("training_flops")
            by_flops.plot(means["training_flops"], means["test_loss"], marker, ls="-", color=colour, ms=5, lw=1.2)
            by_flops.plot(equal["training_flops"], equal["test_loss"], marker, color=colour, ms=6, mfc="none")
        patch_axis(by_patch, whole["patch"])
        cost_axis(by_flops, its["training_flops"], "training FLOPs, log scale")
        for axes in (by_patch, by_flops):
            loss_axis(axes, its["test_loss"])
            axes.set_title(backbone, loc="left", fontsize=10)
    handles = [handle(name, color=colour, marker=marker, ms=5) for name, (colour, marker) in looks.items()]
    if (table["equal"] == "FLOPs").any():
        handles.append(handle("hollow: the FLOPs of conv", ls="", marker="o", mfc="none", ms=6))
    spots[0].legend(handles=handles, frameon=False, fontsize=8, loc="lower left")
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    return figure
