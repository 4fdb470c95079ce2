"""The figure of docs/design.md: the way of an image from its file to the laws, one box per value and its module."""

from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.backbone_styles import COLOURS
from analysis.plots.printed import WIDTHS
from analysis.plots.style import SMALLEST, TITLE

ROOMS = {"config": "0.35", "data": COLOURS[0], "model": COLOURS[1], "results": COLOURS[2]}
WIDTH, HEIGHT, GAP = 1.06, 0.78, 0.26  # of a box, and between boxes of a row
FALL = 1.2  # from row to row
Place = tuple[float, float]


class Box(NamedTuple):
    """A box: its place in the grid, the name of the value, its parts, and the module."""

    column: int
    row: int
    name: str
    parts: str
    module: str
    colour: str


# fmt: off
BOXES = (
    Box(0, 0, "ExperimentConfig", "tree of frozen\nvalues, run ID,\ngroup", "scaling/config", "config"),
    Box(2, 0, "rng.stream", "seed, purpose, key", "scaling/rng.py", "config"),
    Box(3, 0, "StepShapes", "patch and image\nsize of every step", "scaling/config", "config"),
    Box(0, 1, "files", "8-bit RGB,\nfingerprint\nof the contents", "scaling/data", "data"),
    Box(1, 1, "Sampler", "SampleKeys in\norder,\nexact resume", "scaling/data", "data"),
    Box(2, 1, "transforms", "augmentation,\nby key", "scaling/data", "data"),
    Box(3, 1, "Batch", "pixels, keys, shape,\ntargets", "scaling/data", "data"),
    Box(4, 1, "task", "normalisation,\nmixup, CutMix", "scaling/tasks", "model"),
    Box(0, 2, "PatchEmbed", "tokens,\nTokenLayout", "scaling/backbones", "model"),
    Box(1, 2, "PositionEncoding", "add, rotate, bias", "scaling/backbones", "model"),
    Box(2, 2, "blocks", "DeiT, Adventurer,\ntimm", "scaling/backbones", "model"),
    Box(3, 2, "Features", "tokens, pooled,\nlayout", "scaling/backbones", "model"),
    Box(4, 2, "head", "logits, maps, boxes", "scaling/heads", "model"),
    Box(0, 3, "objectives", "loss [nats]", "scaling/tasks", "model"),
    Box(1, 3, "engine", "step, checkpoint,\nevaluate", "scaling/engine", "results"),
    Box(2, 3, "RunRecord", "evaluations, costs", "scaling/runs", "results"),
    Box(3, 3, "RunSet", "groups", "analysis/records", "results"),
    Box(4, 3, "laws", r"$L_\infty + A\,p^{\alpha}$, figures", "analysis/fitting", "results"),
)
# fmt: on
ROWS = ("configuration", "data", "model", "results")


def design_figure() -> Figure:
    """Of the width of a page. Rows are read from left to right, from top to bottom. Each box is a line named by its
    text, so that the numbers of the figure (analysis/plots/drawn_numbers.py) contain the texts."""
    figure = Figure(figsize=(WIDTHS["page"], 4.7), layout="constrained")
    axes = figure.subplots()
    for box in BOXES:
        _draw(axes, box)
    for row, name in enumerate(ROWS):
        axes.text(-0.12, -row * FALL, name, rotation=90, ha="right", va="center", fontsize=TITLE, color="0.35")
    last = max(box.column for box in BOXES)
    for row in range(1, len(ROWS)):
        for column in range(last):
            _arrow(axes, (_left(column) + WIDTH, -row * FALL), (_left(column + 1), -row * FALL))
        if row + 1 < len(ROWS):  # from the end of a row to the start of the next one
            middle = -(row + 0.5) * FALL
            x = [_left(last) + WIDTH / 2] * 2 + [WIDTH / 2] * 2
            y = [-row * FALL - HEIGHT / 2, middle, middle, middle - 0.05]
            axes.plot(x, y, color="0.45", linewidth=1)
            _arrow(axes, (WIDTH / 2, middle), (WIDTH / 2, -(row + 1) * FALL + HEIGHT / 2))
    for box in (box for box in BOXES if box.row == 0):  # configuration that acts on the data
        middle = _left(box.column) + WIDTH / 2
        _arrow(axes, (middle, -HEIGHT / 2), (middle, -FALL + HEIGHT / 2), ":")
    axes.set_xlim(-0.3, _left(last) + WIDTH + 0.05)
    axes.set_ylim(-(len(ROWS) - 1) * FALL - HEIGHT / 2 - 0.05, HEIGHT / 2 + 0.05)
    axes.set_axis_off()
    return figure


def _left(column: int) -> float:
    return column * (WIDTH + GAP)


def _draw(axes: Axes, box: Box) -> None:
    left, y, colour = _left(box.column), -box.row * FALL, ROOMS[box.colour]
    right, low, high = left + WIDTH, y - HEIGHT / 2, y + HEIGHT / 2
    label = f"{box.name}: {box.parts} ({box.module})".replace("\n", " ")
    axes.fill([left, right, right, left], [low, low, high, high], color=colour, alpha=0.10, linewidth=0)
    axes.plot([left, right, right, left, left], [low, low, high, high, low], color=colour, linewidth=1.2, label=label)
    axes.text(
        left + WIDTH / 2, high - 0.06, box.name, ha="center", va="top", fontsize=SMALLEST, weight="bold", color=colour
    )
    axes.text(left + WIDTH / 2, y, box.parts, ha="center", va="center", fontsize=SMALLEST, linespacing=1.05)
    axes.text(left + WIDTH / 2, low + 0.04, box.module, ha="center", va="bottom", fontsize=SMALLEST, color="0.4")


def _arrow(axes: Axes, start: Place, end: Place, style: str = "-") -> None:
    arrow = {"arrowstyle": "-|>", "color": "0.45", "linewidth": 1, "linestyle": style, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=arrow)
