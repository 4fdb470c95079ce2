"""Figure of laws of patch size and images seen: test loss against images seen, a colour per patch size."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.fitting.result import Fit
from analysis.plots.backbone_styles import COLOURS, MARKERS
from analysis.plots.scales import cost_axis, loss_axis
from analysis.plots.style import grid, handle, heading, key, panel_title

LABEL = "images seen, log scale"


def curve_figure(laws: Mapping[str, tuple[Fit, pd.DataFrame]]) -> Figure:
    """Test loss against images seen, log-log: a panel per group, every test loss a mark, the law as lines.
    laws: by the title of the panel a law of x1 images seen and x2 patch [px], and its points: patch, images, y."""
    figure, spots = grid(len(laws), 2, 2.7)
    handles = []
    for axes, (name, (law, points)) in zip(spots, laws.items(), strict=True):
        places = np.geomspace(points["images"].min(), points["images"].max(), 100)
        for number, patch in enumerate(sorted(points["patch"].unique(), reverse=True)):
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            its = points[points["patch"] == patch]
            axes.plot(its["images"], its["y"], marker, color=colour, mec="white", mew=0.5, ms=5.5)
            axes.plot(places, law.predict(places, np.full_like(places, patch)), color=colour, linewidth=1.4)
            handles.append(handle(f"patch {patch:g}", color=colour, marker=marker, linewidth=1.4, ms=5.5))
        cost_axis(axes, points["images"], LABEL)
        loss_axis(axes, points["y"])
        panel_title(axes, name)
    key(figure, handles)
    heading(figure, "Test loss, patch size and images seen")
    return figure
