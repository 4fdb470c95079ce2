"""Figure of the study transfer: test loss over the size of the image, a panel per backbone and position encoding."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.backbone_styles import styles
from analysis.plots.scales import LOSS, image_axis, loss_axis
from analysis.plots.style import INK, grid, handle, heading, key, panel_title, shared_labels

COLUMNS = 4  # panels of a row


def transfer_figure(found: pd.DataFrame, direct: str, title: str) -> Figure:
    """Log-log: a line through the means over seeds, and a mark for every seed, for each rule; dotted at once, whole
    after finetuning. A thick line joins models that were trained at the size.

    found: of analysis/studies/transfer.py, transfers; direct: the rule of models that were trained there."""
    panels = list(found[["backbone", "encoding"]].drop_duplicates().itertuples(index=False, name=None))
    rules = [rule for rule in found["rule"].unique() if rule != direct]
    looks, most = styles(rules), found["steps"].max()
    figure, spots = grid(len(panels), COLUMNS, 2.2, least=1.6, sharey=True)
    for axes, (backbone, encoding) in zip(spots, panels, strict=True):
        its = found[(found["backbone"] == backbone) & (found["encoding"] == encoding)]
        there = its[its["rule"] == direct].groupby("image")["test_loss"].mean()
        axes.plot(there.index, there, color=INK, linewidth=2.2)
        for (rule, steps), runs in its[its["rule"] != direct].groupby(["rule", "steps"], sort=False):
            colour, marker = looks[rule]
            unmoved = its[(its["side"] == 1) & (its["steps"] == steps)]  # where all rules are one
            means = pd.concat([runs, unmoved]).groupby("image")["test_loss"].mean()
            axes.plot(means.index, means, color=colour, linewidth=1.2, ls=":" if steps < most else "-")
            axes.plot(runs["image"], runs["test_loss"], marker, color=colour, ms=4, mec="white", mew=0.4)
        image_axis(axes, found["image"])
        loss_axis(axes, found["test_loss"])
        panel_title(axes, f"{backbone}, {encoding}")
    handles = [
        handle("trained at the size", linewidth=2.2),
        *(handle(rule, color=colour, marker=marker, ms=4) for rule, (colour, marker) in looks.items()),
        handle("at once", ls=":"),
        handle(f"after {most} steps"),
    ]
    shared_labels(figure, spots, "image size [px], log scale", LOSS)
    heading(figure, title)
    key(figure, handles)
    return figure
