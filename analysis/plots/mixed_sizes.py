"""Figure of mixed image sizes: test loss against the size in evaluation."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.backbone_styles import styles
from analysis.plots.scales import image_axis, loss_axis
from analysis.plots.style import grid, handle, heading, key, panel_title, x_label

SIZE = "size of test images [px], log scale"
FEW = 6  # ways whose seeds can be distinguished


def mixed_sizes_figure(found: pd.DataFrame, title: str, way: str = "trained at") -> Figure:
    """A panel per backbone, log-log: a line through the means over seeds for every way of training, and a mark for
    every seed, or for every mean where there are more ways than FEW; dotted where a run sees more images, with
    the FLOPs of the full size. way: name of what differs.

    found: of analysis/studies/mixed_sizes.py, losses."""
    backbones, looks = list(found["backbone"].unique()), styles(found["trained"].unique())
    fewest = found["images"].min()
    figure, spots = grid(len(backbones), 2, 2.6)
    for axes, backbone in zip(spots, backbones, strict=True):
        its = found[found["backbone"] == backbone]
        for (trained, images), runs in its.groupby(["trained", "images"], sort=False):
            colour, marker = looks[trained]
            means = runs.groupby("size")["test_loss"].mean()
            axes.plot(means.index, means, color=colour, linewidth=1.3, ls="-" if images == fewest else ":")
            marked = means if len(looks) > FEW else runs.set_index("size")["test_loss"]
            axes.plot(marked.index, marked, marker, color=colour, ms=5, mec="white", mew=0.5)
        image_axis(axes, its["size"])
        x_label(axes, SIZE)
        loss_axis(axes, its["test_loss"])
        panel_title(axes, backbone)
    handles = [handle(name, color=colour, marker=marker, ms=5) for name, (colour, marker) in looks.items()]
    if found["images"].nunique() > 1:
        handles.append(handle("dotted: FLOPs of the full size", ls=":"))
    heading(figure, title)
    key(figure, handles, way)
    return figure
