"""Figure of exponents: the law over patch size of each value that the runs of a study differ in, and its exponent with
the interval over seeds.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.backbone_styles import Look, styles
from analysis.plots.scales import loss_axis, patch_axis
from analysis.plots.style import grid, heading, open_frame, panel_title, x_label
from analysis.records.seed_noise import critical_t


def exponent_figure(table: pd.DataFrame, slopes: pd.DataFrame, of: str, title: str) -> Figure:
    """A row of two panels per backbone: draw_laws and draw_exponents.

    table, slopes, of: as in analysis/studies/exponents.py."""
    backbones, looks = list(table["backbone"].unique()), styles(table[of].unique())
    figure, spots = grid(2 * len(backbones), 2, 2.6)
    for row, backbone in enumerate(backbones):
        left, right = spots[2 * row : 2 * row + 2]
        draw_laws(left, table[table["backbone"] == backbone], of, looks)
        draw_exponents(right, slopes[slopes["backbone"] == backbone], of, looks)
        panel_title(left, backbone)
    heading(figure, title)
    return figure


def draw_laws(axes: Axes, runs: pd.DataFrame, of: str, looks: dict[str, Look]) -> None:
    """Test loss of one backbone against patch size, log-log: a mark for every seed, and the power law through all."""
    for name, its in runs.groupby(of, sort=False):
        colour, marker = looks[str(name)]
        axes.plot(its["patch"], its["test_loss"], marker, color=colour, ms=5, mec="white", mew=0.5)
        if its["patch"].nunique() > 1:
            alpha, scale = np.polyfit(np.log(its["patch"]), np.log(its["test_loss"]), 1)
            ends = np.array([its["patch"].min(), its["patch"].max()], float)
            axes.plot(ends, np.exp(scale) * ends**alpha, color=colour, linewidth=1.2)
    patch_axis(axes, runs["patch"])
    loss_axis(axes, runs["test_loss"])


def draw_exponents(axes: Axes, slopes: pd.DataFrame, of: str, looks: dict[str, Look]) -> None:
    """The exponent of every value, a row each, with the 95 % interval of its mean over seeds; without one seed alone.

    slopes: of one backbone."""
    names = [str(name) for name in slopes[of]]
    numbers = zip(slopes["alpha"].astype(float), slopes["sd"].astype(float), slopes["seeds"].astype(int), strict=True)
    for place, (alpha, sd, seeds) in enumerate(numbers):
        colour, marker = looks[names[place]]
        if seeds > 1:
            reach = float(critical_t(seeds - 1)) * sd / seeds**0.5
            axes.plot([alpha - reach, alpha + reach], [place, place], color=colour, linewidth=1.6)
        axes.plot(alpha, place, marker, color=colour, ms=6, mec="white", mew=0.5)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    x_label(axes, "exponent alpha and its 95 % interval")
    open_frame(axes)
