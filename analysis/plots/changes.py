"""Figure of changes of the patch size: gap and spike of the loss by position encoding."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.backbone_styles import COLOURS, MARKERS
from analysis.plots.style import grid, handle, heading, key, open_frame, panel_title, x_label, y_label
from analysis.studies.changes import ENCODING

OFFSET = 0.2  # between the marks of an encoding [rows]
READINGS = {"gap": "gap at the change [nats]", "spike": "rise after it [nats]"}


def changes_figure(found: pd.DataFrame, title: str) -> Figure:
    """A panel per backbone and reading: a row per encoding, in it a point per seed and a mark at their mean for each
    change of shape. found: of analysis/studies/changes.py, with ENCODING."""
    whole = found.assign(gap=found["loss_after"] - found["loss_before"])
    backbones, kinds, turns = (list(whole[name].unique()) for name in ("backbone", ENCODING, "change"))
    looks = {turn: (COLOURS[n], MARKERS[n]) for n, turn in enumerate(turns)}
    figure, spots = grid(len(backbones) * len(READINGS), 2, 0.9 + 0.42 * len(kinds))
    cases = [(backbone, reading) for backbone in backbones for reading in READINGS]
    for axes, (backbone, reading) in zip(spots, cases, strict=True):
        for n, (turn, (colour, marker)) in enumerate(looks.items()):
            its = whole[(whole["backbone"] == backbone) & (whole["change"] == turn)]
            shift = OFFSET * (n - (len(turns) - 1) / 2)
            rows = [kinds.index(kind) + shift for kind in its[ENCODING]]
            axes.plot(its[reading], rows, ".", color=colour, ms=4, alpha=0.5)
            means = its.groupby(ENCODING, sort=False)[reading].mean()
            at = [kinds.index(kind) + shift for kind in means.index]
            axes.plot(means, at, marker, color=colour, ms=6, mec="white", mew=0.5)
        axes.axvline(0, color="0.6", linewidth=0.8)
        axes.set_yticks(range(len(kinds)), kinds)
        axes.set_ylim(len(kinds) - 0.5, -0.5)
        x_label(axes, READINGS[reading])
        y_label(axes, "")
        panel_title(axes, str(backbone))
        open_frame(axes)
    heading(figure, title)
    key(figure, [handle(turn, color=colour, marker=marker, ms=6, ls="") for turn, (colour, marker) in looks.items()])
    return figure
