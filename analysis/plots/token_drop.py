"""Figure of dropped tokens: test loss against training FLOPs, and training loss along runs."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.backbone_styles import COLOURS, LINES, MARKERS
from analysis.plots.scales import cost_axis, loss_axis
from analysis.plots.style import INK, grid, handle, heading, key, open_frame, panel_title, x_label, y_label

COST = "training FLOPs, log scale"
SHARE = "share of the run"
PALETTE = (INK, *COLOURS)


def drop_figure(runs: pd.DataFrame, along: pd.DataFrame, title: str) -> Figure:
    """A row of panels per backbone and sizes of training images. Left: test loss of whole images at the end of the runs
    against their FLOPs, log-log, a mark for every seed; a line joins the means of one way of dropping on as many images
    and with as many FLOPs as without. Right: training loss along the runs on the fewest images, the mean over seeds and
    a thin line per seed.

    runs, along: of analysis/studies/token_drop.py, drop_runs."""
    groups = list(runs[["backbone", "sizes"]].drop_duplicates().itertuples(index=False, name=None))
    names = runs["dropped"].unique()
    looks = {
        name: (PALETTE[n % len(PALETTE)], MARKERS[n % len(MARKERS)], LINES[n % len(LINES)])
        for n, name in enumerate(names)
    }
    figure, spots = grid(2 * len(groups), 2, 2.5)
    for place, (backbone, sizes) in enumerate(groups):
        left, right = spots[2 * place : 2 * place + 2]
        its = runs[(runs["backbone"] == backbone) & (runs["sizes"] == sizes)]
        for dropped, ours in its.groupby("dropped", sort=False):
            colour, marker, dash = looks[dropped]
            means = ours.groupby("images")[["flops", "test_loss"]].mean()
            left.plot(means["flops"], means["test_loss"], color=colour, ls=dash, linewidth=1.0)
            left.plot(ours["flops"], ours["test_loss"], marker, color=colour, ms=5, mec="white", mew=0.5)
            fewest = ours["images"].min()
            chosen = (along["backbone"] == backbone) & (along["sizes"] == sizes) & (along["dropped"] == dropped)
            losses = along[chosen & (along["images"] == fewest)]
            for _, of_seed in losses.groupby("seed"):
                right.plot(of_seed["share"], of_seed["train_loss"], color=colour, linewidth=0.7, alpha=0.4)
            mean = losses.groupby("share")["train_loss"].mean()
            right.plot(mean.index, mean, color=colour, ls=dash, linewidth=1.4)
        cost_axis(left, its["flops"], COST)
        loss_axis(left, its["test_loss"])
        open_frame(right)
        x_label(right, SHARE)
        y_label(right, "training loss [nats]")
        for axes in (left, right):
            panel_title(axes, f"{backbone}, trained at {sizes} px")
    handles = [
        handle(dropped, color=colour, marker=marker, ls=dash, ms=5) for dropped, (colour, marker, dash) in looks.items()
    ]
    heading(figure, title)
    key(figure, handles)
    return figure
