"""Figure of effects: the change of the loss by each setting of training, with fixed and with drawn patch sizes."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.backbone_styles import COLOURS, MARKERS
from analysis.plots.style import INK, grid, handle, heading, key, open_frame, panel_title, x_label

OFFSET = 0.22  # between the marks of a setting [rows]


def effects_figure(table: pd.DataFrame, title: str) -> Figure:
    """A panel per backbone: a row per setting, and in it a mark with its 95 % interval for each kind of patch sizes.

    table: of analysis/studies/stability.py, effects."""
    backbones, kinds = list(table["backbone"].unique()), list(table["patches"].unique())
    looks = {kind: ((*COLOURS[:2], INK)[n % 3], MARKERS[n]) for n, kind in enumerate(kinds)}
    rows = table.groupby("backbone")["setting"].nunique().max()
    figure, spots = grid(len(backbones), 2, 0.6 + 0.42 * rows)
    for axes, backbone in zip(spots, backbones, strict=True):
        its = table[table["backbone"] == backbone]
        settings = list(its["setting"].unique())
        for n, kind in enumerate(kinds):
            ours = its[its["patches"] == kind]
            at = [settings.index(one) + OFFSET * (n - (len(kinds) - 1) / 2) for one in ours["setting"]]
            colour, marker = looks[kind]
            low, high = ours["low"].fillna(ours["change"]), ours["high"].fillna(ours["change"])
            axes.hlines(at, 100 * low, 100 * high, color=colour, linewidth=1.4)
            axes.plot(100 * ours["change"], at, marker, color=colour, ms=5, mec="white", mew=0.5)
        axes.axvline(0, color="0.6", linewidth=0.8)
        axes.set_yticks(range(len(settings)), settings)
        axes.set_ylim(len(settings) - 0.5, -0.5)
        x_label(axes, "change of the test loss [%]")
        panel_title(axes, backbone)
        open_frame(axes)
    handles = [handle(kind, color=colour, marker=marker, ms=5, ls="") for kind, (colour, marker) in looks.items()]
    heading(figure, title)
    key(figure, handles)
    return figure
