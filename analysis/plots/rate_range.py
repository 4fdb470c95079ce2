"""Figure of the range of good learning rates: test loss against the rate, with fixed and with drawn patch sizes."""

from typing import Literal

import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.backbone_styles import COLOURS, MARKERS
from analysis.plots.rates import rate_axis
from analysis.plots.scales import loss_axis
from analysis.plots.style import grid, handle, heading, key, panel_title, y_label

DASHES: tuple[Literal["-"], Literal["--"]] = ("-", "--")  # by clipping


def rate_range_figure(runs: pd.DataFrame, title: str) -> Figure:
    """A panel per backbone, a line per patches of the steps and clipping through the means over seeds, every seed a
    small point; failed runs are left out.

    runs: of analysis/studies/rate_range.py, rate_runs."""
    backbones, kinds, clips = (list(runs[name].unique()) for name in ("backbone", "patches", "clip"))
    figure, spots = grid(len(backbones), 2, 2.9, sharey=True)
    cases = [(n, kind, k % 2, clip) for n, kind in enumerate(kinds) for k, clip in enumerate(clips)]
    for axes, backbone in zip(spots, backbones, strict=True):
        its = runs[(runs["backbone"] == backbone) & runs["test_loss"].notna()]
        axes.set_xscale("log", base=2)
        loss_axis(axes, runs["test_loss"].dropna())
        for n, kind, k, clip in cases:
            ours = its[(its["patches"] == kind) & (its["clip"] == clip)]
            axes.plot(ours["lr"], ours["test_loss"], ".", color=COLOURS[n], ms=3, alpha=0.5)
            means = ours.groupby("lr")["test_loss"].mean()
            axes.plot(means.index, means, color=COLOURS[n], marker=MARKERS[n], ls=DASHES[k], linewidth=1.4, ms=5)
        rates = sorted(runs["lr"].unique())
        rate_axis(axes, rates, rates[::2])
        y_label(axes, "test loss [nats]" if axes is figure.axes[0] else "")
        panel_title(axes, str(backbone))
    heading(figure, title)
    entries = [
        *(handle(kind, color=COLOURS[n], marker=MARKERS[n], ls="", ms=5) for n, kind in enumerate(kinds)),
        *(handle(f"clip {clip}", ls=DASHES[k % 2], linewidth=1.4) for k, clip in enumerate(clips)),
    ]
    key(figure, entries)
    return figure
