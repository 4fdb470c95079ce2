"""Figure of laws over tokens: test loss against tokens per image, a colour per patch size."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.fitting.axes import AXES
from analysis.fitting.result import Fit
from analysis.plots.backbone_styles import COLOURS, MARKERS
from analysis.plots.scales import cost_axis, loss_axis
from analysis.plots.style import INK, draw_band, grid, handle, heading, key, panel_title


def tokens_figure(laws: Mapping[str, tuple[Sequence[Fit], pd.DataFrame]]) -> Figure:
    """Log-log, a panel per group: a mark for every evaluation, a line per law, with the interval of the first.

    laws: by the title of the panel laws of x tokens, and the points (analysis/records/token_points.py)."""
    figure, spots = grid(len(laws), 2, 2.7)
    handles = []
    for axes, (name, (fits, points)) in zip(spots, laws.items(), strict=True):
        places = np.geomspace(points["tokens"].min(), points["tokens"].max(), 100)
        for number, patch in enumerate(sorted(points["patch"].unique(), reverse=True)):
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            its = points[points["patch"] == patch]
            axes.plot(its["tokens"], its["y"], marker, color=colour, mec="white", mew=0.5, ms=5.5)
            handles.append(handle(f"patch {patch:g} px", color=colour, marker=marker, ls="none", ms=5.5))
        for number, law in enumerate(fits):
            width = 1.8 - 0.8 * number
            axes.plot(places, law.predict(places), color=INK if not number else "0.55", linewidth=width)
            handles.append(handle(law.form, color=INK if not number else "0.55", linewidth=width))
        draw_band(axes, fits[0], places, INK)
        cost_axis(axes, points["tokens"], AXES["tokens"].label)
        loss_axis(axes, points["y"])
        panel_title(axes, name)
    key(figure, handles)
    heading(figure, "Test loss and tokens per image")
    return figure
