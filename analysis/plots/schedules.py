"""Figure of schedules: what the steps of runs have, one column of panels per schedule."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

from analysis.plots.backbone_styles import COLOURS
from analysis.plots.style import handle, key, open_frame, panel_rows, panel_title, panel_width, x_label, y_label

NARROW, LETTERS = 1.0, "abcdefgh"  # a panel of less [inches] has a letter, and its title is below the figure
ROWS = {"patch": "patch [px]", "image": "image [px]", "images": "images\nper step", "spent": "FLOPs spent"}


def schedule_figure(schedules: Mapping[str, pd.DataFrame]) -> Figure:
    """From above: patch size, side of the images or crops, images per step (log2), a mark per step, and the share of
    the training FLOPs that is spent, over the share of the steps.

    schedules: by title, a row per step with share (of the steps before it), patch, image [px], images, spent (share of
    the FLOPs after it)."""
    entries: list[Line2D] = []
    figure, spots = panel_rows(5.2, len(ROWS), len(schedules), sharex=True, sharey="row")
    for column, (title, its) in enumerate(schedules.items()):
        for row, name in enumerate(ROWS):
            axes = spots[row][column]
            open_frame(axes)
            if name == "spent":
                axes.plot(its["share"], its["spent"], color=COLOURS[1], linewidth=1.4)
                axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, ls=":")
            else:
                axes.plot(its["share"], its[name], ".", color=COLOURS[0], ms=2.5)
        narrow = panel_width(spots[0][column]) < NARROW
        panel_title(spots[0][column], LETTERS[column] if narrow else title)
        words = " ".join(title.split())
        entries += [handle(f"{LETTERS[column]}: {words}", ls="")] if narrow else []
        spots[-1][column].xaxis.set_major_formatter(PercentFormatter(1.0))
        x_label(spots[-1][column], "steps")
    for row, (name, label) in enumerate(ROWS.items()):
        y_label(spots[row][0], label)
        if name == "spent":
            spots[row][0].yaxis.set_major_formatter(PercentFormatter(1.0))
        else:
            _sizes(spots[row][0], pd.concat([its[name] for its in schedules.values()]))
    key(figure, entries)
    return figure


def _sizes(axes: Axes, values: pd.Series) -> None:
    """A log2 axis with a tick at every value."""
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_locator(FixedLocator(sorted(values.unique())))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylim(values.min() / 1.4, values.max() * 1.4)
