"""Figure of the study patch_transfer: test loss at another patch size over the steps of finetuning."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.backbone_styles import styles
from analysis.plots.scales import loss_axis
from analysis.plots.style import grid, handle, heading, key, panel_title, x_label


def finetuning_figure(found: pd.DataFrame, direct: str, title: str) -> Figure:
    """A panel per backbone and patch size: a line through the means over seeds for each encoding and way of resizing
    the kernel, whole for the first way and dotted for the second, and a mark for every seed; a level for the model that
    was trained there. The loss is on a log axis, the steps on one that is linear below 10.

    found: of analysis/studies/transfer.py, transfers; direct: the rule of models that were trained there."""
    panels = list(found[["backbone", "patch"]].drop_duplicates().itertuples(index=False, name=None))
    looks = styles(found["encoding"].unique())
    kernels = [kernel for kernel in found["kernel"].unique() if kernel]
    figure, spots = grid(len(panels), 2, 2.5)
    for axes, (backbone, patch) in zip(spots, panels, strict=True):
        its = found[(found["backbone"] == backbone) & (found["patch"] == patch)]
        for encoding, runs in its.groupby("encoding", sort=False):
            colour, marker = looks[encoding]
            there = runs[runs["rule"] == direct]["test_loss"]
            if len(there):
                axes.axhline(there.mean(), color=colour, linewidth=0.8, ls="--")
            for kernel, ours in runs[runs["rule"] != direct].groupby("kernel", sort=False):
                means = ours.groupby("steps")["test_loss"].mean()
                axes.plot(means.index, means, color=colour, linewidth=1.3, ls="-" if kernel == kernels[0] else ":")
                axes.plot(ours["steps"], ours["test_loss"], marker, color=colour, ms=4, mec="white", mew=0.4)
        axes.set_xscale("symlog", linthresh=10)
        axes.set_xticks(sorted(its["steps"].unique()), [f"{steps:,}" for steps in sorted(its["steps"].unique())])
        axes.minorticks_off()
        x_label(axes, "steps of finetuning")
        loss_axis(axes, its["test_loss"])
        panel_title(axes, f"{backbone}, at {patch} px")
    handles = [
        *(handle(name, color=colour, marker=marker, ms=4) for name, (colour, marker) in looks.items()),
        *(handle(f"kernel {kernel}", ls="-" if kernel == kernels[0] else ":") for kernel in kernels),
        handle("trained at the patch size", ls="--", linewidth=0.8),
    ]
    heading(figure, title)
    key(figure, handles)
    return figure
