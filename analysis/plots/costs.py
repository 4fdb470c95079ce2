"""Cost figures: the calculators of notebook 03, a figure each, and the frames that they draw. All by arithmetic.

A calculator takes what a slider gives (a name, a side in px) and returns a Figure. Memory is that of training with
AdamW in bf16-mixed, as scaling/costs/training_memory.py counts it; hours are analysis/planning/throughput_model.py's.
"""

from functools import cache
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator

from analysis.planning.allocation import EPOCHS, configurations, published_surface
from analysis.planning.throughput_model import image_bytes, image_seconds
from analysis.plots.style import COLOURS, INK, grid, image_axis, open_frame, patch_axis, round_ticks, styles
from analysis.records.published import IMAGENET_CLASSES, backbone_of
from scaling import costs
from scaling.costs.training_memory import SHARE, step_bytes
from scaling.model_specs import MODEL_SPECS
from scaling.recipe import Recipe

PATCHES = (64, 32, 16, 8, 4, 2, 1)  # that a calculator shows, where they divide the image [px]
FACTORS = (0.5, 0.75, 1, 1.25, 1.5, 2, 3)  # by which a calculator changes the side of an image [ratio]
BF16 = 2  # bytes a number
MANY = 2**20  # images, more than any card takes at a time
PANEL = (5.4, 3.9)  # [inches]
# Ways to keep what the backward pass needs: name, and options of scaling/costs/training_memory.py.
WAYS: dict[str, dict[str, bool]] = {
    "attention keeps its matrices": {"flash": False},
    "fused attention": {},
    "fused, blocks recomputed": {"recompute": True},
}
PARTS = {  # of costs.flops_by_part, as a reader knows them; other parts go by their own names
    "embedding": "patch projection",
    "projections": "projections of the mixer",
    "attention": "attention's matrix",
    "scan": "scan",
    "convolution": "convolution",
    "mlp": "MLP",
    "head": "classifier",
}


def classifier(backbone: str, image: int, patch: int) -> Recipe:
    """A training run on ImageNet-1k. image, patch: sides [px]."""
    return Recipe(data="imagenet", backbone=backbone, image=image, patch=patch, classes=IMAGENET_CLASSES, batch=1024)


def image_memory(recipe: Recipe, **way: bool) -> float:
    """Memory that one more image in a step takes [bytes]. way: of WAYS."""
    return image_bytes(recipe, recipe.batch, BF16, **way)


def largest_batch(recipe: Recipe, card: str, **way: bool) -> int:
    """Images that a card trains at a time at most [images]; 0: not even one. card: of costs.CARDS."""
    room = SHARE * (costs.CARDS[card].memory - costs.optimiser_bytes(costs.recipe_parameters(recipe)))
    low, high = 0, MANY  # low fits, high does not
    while high - low > 1:
        middle = (low + high) // 2
        fits = step_bytes(recipe, middle, costs.MemoryPolicy(number=BF16, **way)) <= room
        low, high = (middle, high) if fits else (low, middle)
    return low


def by_patch(backbone: str, image: int) -> pd.DataFrame:
    """What a classifier of 1,000 classes is made of at every patch size that divides the image, a row a patch.

    Columns: patch [px], tokens (without the class token), pairs (elements of attention's matrix of one head, with it),
    projection, positions, parameters (all three: learned numbers), FLOPs of one image's forward pass by part (names in
    PARTS, 0 for a part that the model lacks, then others) and forward, their sum."""
    rows: list[dict[str, Any]] = []
    for patch in PATCHES:
        if image % patch or patch >= image:
            continue
        tokens = costs.tokens(image, patch)
        learned = costs.parameters_by_part(backbone, image, patch, IMAGENET_CLASSES)
        flops = costs.flops_by_part(backbone, image, patch, IMAGENET_CLASSES)
        own = {"projection": learned["embedding"], "positions": learned["positions"], "parameters": learned.total}
        sequence = {"patch": patch, "tokens": tokens, "pairs": (tokens + 1) ** 2}
        rows.append(sequence | own | dict.fromkeys(PARTS, 0) | dict(flops.parts) | {"forward": flops.total})
    return pd.DataFrame(rows)


def memory_by_patch(backbone: str, image: int, card: str) -> pd.DataFrame:
    """Memory of training at every patch size that divides the image, a row a patch and way to keep activations.
    Columns: way, patch [px], memory of one image [bytes], batch: the most that the card takes at a time [images]."""
    rows = []
    for name, way in WAYS.items():
        if MODEL_SPECS[backbone].has_scan and not way.get("flash", True):
            continue  # it has no attention
        for patch in by_patch(backbone, image)["patch"]:
            recipe = classifier(backbone, image, patch)
            rows.append((name, patch, image_memory(recipe, **way), largest_batch(recipe, card, **way)))
    return pd.DataFrame(rows, columns=["way", "patch", "memory", "batch"])


def resized(backbone: str, image: int, patch: int) -> pd.DataFrame:
    """A model for images of one side at other sides, in two ways: the patch is held, or the number of tokens is.

    Columns: held, image, patch [px], tokens, positions (grid to grid) and kernel (side to side), "kept" where nothing
    has to be resampled, forward [FLOPs], memory of one image in training [bytes]."""
    side, rows = image // patch, []
    sides = [round(image * factor) for factor in FACTORS]
    for held in ("patch", "tokens"):
        for to in sides:
            if to % patch or to % side:
                continue  # one of the two ways has no whole number there
            new = patch if held == "patch" else to // side
            grown = to // new
            positions = "kept" if grown == side else f"{side}x{side} to {grown}x{grown}"
            kernel = "kept" if new == patch else f"{patch} to {new} px"
            recipe = classifier(backbone, to, new)
            cost = costs.recipe_flops(recipe), image_memory(recipe)
            rows.append((held, to, new, grown**2, positions, kernel, *cost))
    columns = ["held", "image", "patch", "tokens", "positions", "kernel", "forward", "memory"]
    return pd.DataFrame(rows, columns=columns)


@cache
def _configured() -> pd.DataFrame:
    return configurations(published_surface())


def on_card(card: str) -> pd.DataFrame:
    """Every configuration of analysis/planning/allocation.py, with what training it takes on one card. card: of
    costs.CARDS. More columns: hours of 300 epochs of ImageNet-1k [h], memory of one image [bytes], batch: the most at a
    time."""
    frame = _configured().copy()
    names = frame[["model", "image", "patch"]].to_numpy()
    recipes = [classifier(backbone_of(model), int(image), int(patch)) for model, image, patch in names]
    seconds = [image_seconds(recipe, costs.CARDS[card], recipe.batch) for recipe in recipes]
    frame["hours"] = [one * costs.IMAGENET_IMAGES * EPOCHS / 3600 for one in seconds]
    frame["memory"] = [image_memory(recipe) for recipe in recipes]
    frame["batch"] = [largest_batch(recipe, card) for recipe in recipes]
    return frame


def length_figure(image: int = 224, patch: int = 16) -> Figure:
    """Tokens, and elements of one head's attention matrix, at every patch size; one of them is told in words."""
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
    """Learned numbers that follow the patch: those of its projection, 3 p² D + D, and of positions, as numbers and as
    a share of the model."""
    table = by_patch(backbone, image)
    figure, (left, right) = grid(2, 2, PANEL)
    for column, (colour, marker) in styles(["projection", "positions"]).items():
        _draw(left, table, column, colour, marker, column)
        right.plot(table["patch"], 100 * table[column] / table["parameters"], color=colour, marker=marker)
    _patch_panel(left, table, "learned numbers, log scale", f"{backbone} at {image} px")
    left.legend(frameon=False)
    _patch_panel(right, table, "share of the whole model [%]", "the rest is the same at every patch", log=False)
    right.set_ylim(bottom=0)
    return figure


def parts_figure(backbone: str = "deit_base", image: int = 224) -> Figure:
    """FLOPs of one image's forward pass: what share each part has at each patch size, and the sum."""
    table = by_patch(backbone, image)
    figure, (left, right) = grid(2, 2, PANEL)
    _draw(left, table, "forward", INK, "o", "")
    _patch_panel(left, table, "FLOPs of an image, forward, log scale", f"{backbone} at {image} px")
    below = pd.Series(0.0, index=table.index)
    columns = list(table)
    parts = columns[columns.index("parameters") + 1 : -1]  # between the sums of parameters and of FLOPs
    names = [part for part in parts if (table[part] / table["forward"]).max() > 0.001]
    for part, (colour, _) in styles(names).items():
        share = 100 * table[part] / table["forward"]
        right.bar(table["patch"].astype(str), share, bottom=below, color=colour, label=PARTS.get(part, part))
        below = below + share
    open_frame(right)
    right.set(xlabel="patch side [px]", ylabel="share of FLOPs [%]", ylim=(0, 100))
    right.set_title("where they go", loc="left", fontsize=11)
    right.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
    return figure


def memory_figure(backbone: str = "deit_base", image: int = 224, card: str = "a100") -> Figure:
    """Memory of one image in training, and the largest batch that a card takes at a time, by what is kept."""
    table = memory_by_patch(backbone, image, card)
    figure, (left, right) = grid(2, 2, PANEL)
    for way, (colour, marker) in styles(WAYS).items():
        its = table[table["way"] == way]
        if its.empty:
            continue
        _draw(left, its, "memory", colour, marker, way)
        _draw(right, its[its["batch"] > 0], "batch", colour, marker, "")
    _patch_panel(left, table, "memory of one image [bytes], log scale", f"{backbone} at {image} px, training in bf16")
    holds = f"{card}: {costs.CARDS[card].memory / 1e9:.0f} GB"
    _patch_panel(right, table, "images at a time, at most, log scale", f"{holds}; no mark: not even one image fits")
    left.legend(frameon=False, fontsize=9)
    return figure


def resolution_figure(backbone: str = "deit_base", image: int = 224, patch: int = 16) -> Figure:
    """What a model for images of one side costs at other sides, where the patch is held and where the tokens are."""
    table = resized(backbone, image, patch)
    figure, (left, right) = grid(2, 2, PANEL)
    of = f"{backbone}, made for {image} px at patch {patch}"
    panels = ((left, "tokens", "tokens of an image", of), (right, "forward", "FLOPs of an image, forward", ""))
    for axes, column, label, title in panels:
        for held, (colour, marker) in styles(["patch", "tokens"]).items():
            its = table[table["held"] == held]
            axes.plot(its["image"], its[column], color=colour, marker=marker, label=f"the {held} held")
        image_axis(axes, table["image"])
        _count_axis(axes, f"{label}, log scale")
        axes.set_title(title, loc="left", fontsize=11)
    left.legend(frameon=False)
    return figure


def use_figure(model: str = "Adventurer-Base", image: int = 224, card: str = "a100") -> Figure:
    """Which patch for which use: predicted error, hours of training and memory of an image, side by side.
    model: of Table 7, by an Adventurer's name.  image: of optimal.IMAGES [px].  Faint: beyond what was measured."""
    table = on_card(card).query("model == @model and image == @image")
    figure, panels = grid(3, 3, (4.6, 3.9))
    known = table["beyond"] == ""
    columns = {
        "predicted": "predicted top-1 error [%], 95 % interval",
        "hours": f"hours of 300 epochs on one {card}, log scale",
        "memory": "memory of one image [bytes], log scale",
    }
    for axes, (column, label), colour in zip(panels, columns.items(), COLOURS, strict=False):
        axes.plot(table["patch"], table[column], color=colour)
        axes.plot(table.loc[~known, "patch"], table.loc[~known, column], "o", color=colour, alpha=0.35)
        axes.plot(table.loc[known, "patch"], table.loc[known, column], "o", color=colour)
        _patch_panel(axes, table, label, "", log=column != "predicted")
    panels[0].fill_between(table["patch"], table["low"], table["high"], color=COLOURS[0], alpha=0.13, lw=0)
    panels[0].set_title(f"{model} at {image} px", loc="left", fontsize=11)
    return figure


def _draw(axes: Axes, table: pd.DataFrame, column: str, colour: str, marker: str, name: str) -> None:
    axes.plot(table["patch"], table[column], color=colour, marker=marker, label=name)


def _patch_panel(axes: Axes, table: pd.DataFrame, label: str, title: str, log: bool = True) -> None:
    patch_axis(axes, table["patch"])
    axes.set_xlabel("patch side [px], log scale")
    axes.set_title(title, loc="left", fontsize=11)
    if log:
        _count_axis(axes, label)
    else:
        axes.set_ylabel(label)
        open_frame(axes)


def _count_axis(axes: Axes, label: str) -> None:
    """Log axis with ticks as 1k, 2M, at the values that are drawn."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator(round_ticks(*axes.get_ylim(), most=9)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_ylabel(label)
    open_frame(axes)
