"""Figure of dropped tokens: test loss against training FLOPs, and training loss along runs."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.backbone_styles import styles
from analysis.plots.style import cost_axis, grid, handle, loss_axis, open_frame

COST = "training FLOPs, log scale"
SHARE = "share of the run"


def drop_figure(runs: pd.DataFrame, along: pd.DataFrame, title: str) -> Figure:
    """A row of panels per backbone and sizes of training images. Left: test loss of whole images at the end of the runs
    against their FLOPs, log-log, a mark for every seed; a line joins the means of one way of dropping on as many images
    and with as many FLOPs as without. Right: mean training loss along the runs on the fewest images, a line per seed.

    runs, along: of analysis/studies/token_drop.py, drop_runs."""
    groups = list(runs[["backbone", "sizes"]].drop_duplicates().itertuples(index=False, name=None))
    looks = styles(runs["dropped"].unique())
    figure, spots = grid(2 * len(groups), 2, (5.2, 3.2))
    for place, (backbone, sizes) in enumerate(groups):
        left, right = spots[2 * place : 2 * place + 2]
        its = runs[(runs["backbone"] == backbone) & (runs["sizes"] == sizes)]
        for dropped, ours in its.groupby("dropped", sort=False):
            colour, marker = looks[dropped]
            means = ours.groupby("images")[["flops", "test_loss"]].mean()
            left.plot(means["flops"], means["test_loss"], color=colour, linewidth=1.0)
            left.plot(ours["flops"], ours["test_loss"], marker, color=colour, ms=5, mec="white", mew=0.5)
            fewest = ours["images"].min()
            chosen = (along["backbone"] == backbone) & (along["sizes"] == sizes) & (along["dropped"] == dropped)
            for _, losses in along[chosen & (along["images"] == fewest)].groupby("seed"):
                right.plot(losses["share"], losses["train_loss"], color=colour, linewidth=0.9)
        cost_axis(left, its["flops"], COST)
        loss_axis(left, its["test_loss"])
        open_frame(right)
        right.set_xlabel(SHARE)
        right.set_ylabel("training loss [nats]")
        for axes in (left, right):
            axes.set_title(f"{backbone}, trained at {sizes} px", loc="left", fontsize=10)
    handles = [handle(dropped, color=colour, marker=marker, ms=5) for dropped, (colour, marker) in looks.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8.5)
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    return figure
