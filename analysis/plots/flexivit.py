"""Figure of the study flexivit: test loss over patch size, a panel per backbone and way of resizing a kernel."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.fitting.axes import AXES
from analysis.plots.backbone_styles import COLOURS, MARKERS
from analysis.plots.scales import LOSS, loss_axis, patch_axis
from analysis.plots.style import DASHES, INK, LineStyle, grid, heading, key, panel_title, shared_labels

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
    figure, spots = grid(len(backbones) * len(ways), len(ways), 2.1, least=1.5, sharex=True, sharey=True)
    for number, backbone in enumerate(backbones):
        row = spots[number * len(ways) : (number + 1) * len(ways)]
        its = resized[resized["backbone"] == backbone]
        for axes, way in zip(row, ways, strict=True):
            for place, model in enumerate(models):
                _draw(axes, its[(its["model_patch"] == model) & (its["resize"] == way)], _thin(place, model))
            for runs, style in ((own, OWN), (flexible, FLEXIBLE)):
                there = runs[runs["backbone"] == backbone]
                _draw(axes, there, style)
                axes.plot(there["patch"], there["test_loss"], ".", color=style["color"], ms=4)
            patch_axis(axes, every["patch"])
            loss_axis(axes, every["test_loss"])
            panel_title(axes, f"{backbone}, {way}")
    styles: list[LineStyle] = [FLEXIBLE, OWN, *(_thin(*model) for model in enumerate(models))]
    handles = [Line2D([], [], **style) for style in styles]
    shared_labels(figure, spots, AXES["patch"].label, LOSS)
    heading(figure, title)
    key(figure, handles)
    return figure


def _thin(number: int, model: int) -> LineStyle:
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    return {"color": colour, "marker": marker, "linewidth": 1.0, "ms": 4, "label": f"model of {model} px"}


def _draw(axes: Axes, runs: pd.DataFrame, style: LineStyle) -> None:
    means = runs.groupby("patch")["test_loss"].mean()
    axes.plot(means.index, means, **style)
