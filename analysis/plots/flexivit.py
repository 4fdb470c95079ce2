"""Figure of the study flexivit: test loss over patch size, a panel per backbone and way of resizing a kernel."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.plots.backbone_styles import COLOURS, MARKERS
from analysis.plots.style import DASHES, INK, LineStyle, loss_axis, patch_axis

THICK = 2.2
FLEXIBLE: LineStyle = {"color": "black", "linewidth": THICK, "label": "one flexible model"}
OWN: LineStyle = {
    "color": INK,
    "linewidth": THICK,
    "linestyle": DASHES["shifted"],
    "label": "a model per patch size, at its own",
}


def flexivit_figure(flexible: pd.DataFrame, own: pd.DataFrame, resized: pd.DataFrame, title: str) -> Figure:
    """Means over seeds: the flexible model, and the models of one patch size at their own, as thick lines, the same in
    all panels of a backbone, with every seed a point; each of these models at all patch sizes as a thin line.

    The frames have rows of analysis/studies/flexivit.py: of the flexible model, of the others at their own patch sizes,
    and of the others everywhere."""
    backbones, ways = list(resized["backbone"].unique()), list(resized["resize"].unique())
    models = list(resized["model_patch"].unique())
    every = pd.concat([flexible, own, resized])
    figure = Figure(figsize=(2.5 * len(ways) + 0.6, 2.7 * len(backbones) + 0.9), layout="constrained")
    spots = figure.subplots(len(backbones), len(ways), sharex=True, sharey=True, squeeze=False)
    for row, backbone in zip(spots, backbones, strict=True):
        its = resized[resized["backbone"] == backbone]
        for axes, way in zip(row, ways, strict=True):
            for number, model in enumerate(models):
                _draw(axes, its[(its["model_patch"] == model) & (its["resize"] == way)], _thin(number, model))
            for runs, style in ((own, OWN), (flexible, FLEXIBLE)):
                there = runs[runs["backbone"] == backbone]
                _draw(axes, there, style)
                axes.plot(there["patch"], there["test_loss"], ".", color=style["color"], ms=4)
            patch_axis(axes, every["patch"])
            loss_axis(axes, every["test_loss"])
            axes.set_title(f"{backbone}, {way}", loc="left", fontsize=9.5)
            axes.set_xlabel("patch size [px]" if backbone == backbones[-1] else "")
            axes.set_ylabel("test loss [nats], log scale" if way == ways[0] else "")
    styles: list[LineStyle] = [FLEXIBLE, OWN, *(_thin(*model) for model in enumerate(models))]
    handles = [Line2D([], [], **style) for style in styles]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8.5)
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    return figure


def _thin(number: int, model: int) -> LineStyle:
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    return {"color": colour, "marker": marker, "linewidth": 1.0, "ms": 4, "label": f"model of {model} px"}


def _draw(axes: Axes, runs: pd.DataFrame, style: LineStyle) -> None:
    means = runs.groupby("patch")["test_loss"].mean()
    axes.plot(means.index, means, **style)
