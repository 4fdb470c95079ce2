"""Cost figures: the calculators of notebook 03 and the frames that they draw, all computed.

A calculator takes the values of sliders (a name, a size in px) and returns a Figure. Memory is that of training with
AdamW in bf16-mixed (scaling/costs/training_memory.py); hours are those of analysis/planning/throughput_model.py.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.fitting.axes import AXES
from analysis.planning.cost_tables import PARTS, WAYS, by_patch, memory_by_patch, on_card, resized
from analysis.plots.backbone_styles import COLOURS, styles
from analysis.plots.scales import count_axis, image_axis, patch_axis
from analysis.plots.style import INK, grid, key, open_frame, panel_title, x_label, y_label
from scaling import costs

HATCHES = ("", "///", "...", "xxx", "---", "|||")  # of bars of one lightness
PANEL = 2.6  # height [inches]


def length_figure(image: int = 224, patch: int = 16) -> Figure:
    """Tokens, and elements of one head's attention matrix, at every patch size; one patch size is highlighted."""
    table = by_patch("deit_base", image)
    figure, panels = grid(2, 2, PANEL)
    here = table[table["patch"] == patch].iloc[0]
    side = image // patch
    words = {
        "tokens": f"patch {patch}: {side} x {side} = {here['tokens']:,.0f} tokens and the class token",
        "pairs": f"patch {patch}: {here['tokens'] + 1:,.0f}² = {here['pairs']:,.0f} elements in attention's matrix",
    }
    labels = ("tokens of an image, log scale", "elements of one head's matrix, log scale")
    for axes, (column, title), label in zip(panels, words.items(), labels, strict=True):
        _draw(axes, table, column, COLOURS[0], "o", "")
        axes.plot([patch], [here[column]], "o", color=COLOURS[1], ms=10)
        _patch_panel(axes, table, label, title)
    return figure


def parameter_figure(backbone: str = "deit_base", image: int = 256) -> Figure:
    """Parameters that depend on the patch size: the projection, 3 p² D + D, and position embeddings, as numbers and as
    a share of the model."""
    table = by_patch(backbone, image)
    figure, (left, right) = grid(2, 2, PANEL)
    for column, (colour, marker) in styles(["projection", "positions"]).items():
        _draw(left, table, column, colour, marker, column)
        right.plot(table["patch"], 100 * table[column] / table["parameters"], color=colour, marker=marker)
    _patch_panel(left, table, "parameters, log scale", f"{backbone} at {image} px")
    _patch_panel(right, table, "share of the whole model [%]", "the rest does not depend on the patch size", log=False)
    right.set_ylim(bottom=0)
    key(figure, left.get_legend_handles_labels()[0])
    return figure


def parts_figure(backbone: str = "deit_base", image: int = 224) -> Figure:
    """FLOPs of one image's forward pass: the sum, and the share of each part, at each patch size."""
    table = by_patch(backbone, image)
    figure, (left, right) = grid(2, 2, PANEL)
    _draw(left, table, "forward", INK, "o", "")
    _patch_panel(left, table, AXES["flops_per_image"].label, f"{backbone} at {image} px")
    below = pd.Series(0.0, index=table.index)
    columns = [str(name) for name in table]
    parts = columns[columns.index("parameters") + 1 : -1]  # between the sums of parameters and of FLOPs
    names = [part for part in parts if (table[part] / table["forward"]).max() > 0.001]
    for number, (part, (colour, _)) in enumerate(styles(names).items()):
        share, hatch = 100 * table[part] / table["forward"], HATCHES[number % len(HATCHES)]
        name = PARTS.get(part, part)
        right.bar(
            table["patch"].astype(str), share, bottom=below, color=colour, hatch=hatch, edgecolor="white", label=name
        )
        below = below + share
    open_frame(right)
    right.set_ylim(0, 100)
    x_label(right, "patch size [px]")
    y_label(right, "share of FLOPs [%]")
    panel_title(right, "share of each part")
    key(figure, right.get_legend_handles_labels()[0])
    return figure


def memory_figure(backbone: str = "deit_base", image: int = 224, card: str = "a100") -> Figure:
    """Training memory per image, and the largest batch that fits a card, by way to store activations."""
    table = memory_by_patch(backbone, image, card)
    figure, (left, right) = grid(2, 2, PANEL)
    for way, (colour, marker) in styles(WAYS).items():
        its = table[table["way"] == way]
        if its.empty:
            continue
        _draw(left, its, "memory", colour, marker, way)
        _draw(right, its[its["batch"] > 0], "batch", colour, marker, "")
    _patch_panel(left, table, "memory per image [bytes], log scale", f"{backbone} at {image} px, training in bf16")
    holds = f"{card}: {costs.CARDS[card].memory / 1e9:.0f} GB"
    _patch_panel(right, table, "largest batch [images], log scale", f"{holds}; no mark: one image does not fit")
    key(figure, left.get_legend_handles_labels()[0])
    return figure


def resolution_figure(backbone: str = "deit_base", image: int = 224, patch: int = 16) -> Figure:
    """The cost of a model at other image sizes, at constant patch size and at constant tokens."""
    table = resized(backbone, image, patch)
    figure, (left, right) = grid(2, 2, PANEL)
    of = f"{backbone} for {image} px at patch {patch}"
    panels = ((left, "tokens", "tokens per image", of), (right, "forward", "FLOPs per image (forward pass)", ""))
    for axes, column, label, title in panels:
        for held, (colour, marker) in styles(["patch", "tokens"]).items():
            its = table[table["held"] == held]
            axes.plot(its["image"], its[column], color=colour, marker=marker, label=f"constant {held}")
        image_axis(axes, table["image"])
        count_axis(axes, f"{label}, log scale")
        panel_title(axes, title)
    key(figure, left.get_legend_handles_labels()[0])
    return figure


def use_figure(model: str = "Adventurer-Base", image: int = 224, card: str = "a100") -> Figure:
    """The choice of a patch size: predicted error, hours of training and memory per image.
    model: of Table 7, by an Adventurer's name.  image: of allocation.IMAGES [px].  Faint: extrapolation."""
    table = on_card(card).query("model == @model and image == @image")
    figure, panels = grid(3, 3, 2.3, least=2.0)
    known = table["beyond"] == ""
    columns = {
        "predicted": "predicted top-1 error [%], 95 % interval",
        "hours": f"hours of 300 epochs on one {card}, log scale",
        "memory": "memory per image [bytes], log scale",
    }
    for axes, (column, label), colour in zip(panels, columns.items(), COLOURS, strict=False):
        axes.plot(table["patch"], table[column], color=colour)
        axes.plot(table.loc[~known, "patch"], table.loc[~known, column], "o", color=colour, alpha=0.35)
        axes.plot(table.loc[known, "patch"], table.loc[known, column], "o", color=colour)
        _patch_panel(axes, table, label, "", log=column != "predicted")
    panels[0].fill_between(table["patch"], table["low"], table["high"], color=COLOURS[0], alpha=0.13, lw=0)
    panel_title(panels[0], f"{model} at {image} px")
    return figure


def _draw(axes: Axes, table: pd.DataFrame, column: str, colour: str, marker: str, name: str) -> None:
    axes.plot(table["patch"], table[column], color=colour, marker=marker, label=name)


def _patch_panel(axes: Axes, table: pd.DataFrame, label: str, title: str, log: bool = True) -> None:
    patch_axis(axes, table["patch"])
    x_label(axes, AXES["patch"].label)
    panel_title(axes, title)
    if log:
        count_axis(axes, label)
    else:
        y_label(axes, label)
        open_frame(axes)
