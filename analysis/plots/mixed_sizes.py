"""Figure of mixed image sizes: test loss against the size in evaluation."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.backbone_styles import styles
from analysis.plots.style import grid, handle, image_axis, loss_axis

SIZE = "size of test images [px], log scale"


def mixed_sizes_figure(found: pd.DataFrame, title: str) -> Figure:
    """A panel per backbone, log-log: a line through the means over seeds for every way of training, and a mark for
    every seed; dotted where a run sees more images, with the FLOPs of the full size.

    found: of analysis/studies/mixed_sizes.py, losses."""
    backbones, looks = list(found["backbone"].unique()), styles(found["trained"].unique())
    fewest = found["images"].min()
    figure, spots = grid(len(backbones), 2, (4.8, 3.6))
    for axes, backbone in zip(spots, backbones, strict=True):
        its = found[found["backbone"] == backbone]
        for (trained, images), runs in its.groupby(["trained", "images"], sort=False):
            colour, marker = looks[trained]
            means = runs.groupby("size")["test_loss"].mean()
            axes.plot(means.index, means, color=colour, linewidth=1.3, ls="-" if images == fewest else ":")
            axes.plot(runs["size"], runs["test_loss"], marker, color=colour, ms=5, mec="white", mew=0.5)
        image_axis(axes, its["size"])
        axes.set_xlabel(SIZE)
        loss_axis(axes, its["test_loss"])
        axes.set_title(backbone, loc="left", fontsize=10)
    handles = [handle(name, color=colour, marker=marker, ms=5) for name, (colour, marker) in looks.items()]
    handles.append(handle("dotted: FLOPs of the full size", ls=":"))
    columns = 2 if len(backbones) == 1 else 3
    figure.legend(
        handles=handles, title="trained at", loc="outside lower center", ncols=columns, frameon=False, fontsize=8.5
    )
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    return figure
