"""Drawing: what all figures share: colours, marks and dashes, axes with units, labels that keep clear of each other.

A figure is returned, and only scripts write files. pyplot is not used: a Figure made by itself draws on any machine,
with or without a display, and leaves no state behind. A share is one of an axes' width or height.
"""

import io
import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from analysis.fitting.laws import Fit
from analysis.plots.backbone_styles import COLOURS, MARKERS, styles

__all__ = ["COLOURS", "MARKERS", "styles"]  # and what is defined here

DASHES: dict[str, Any] = {"power": "-", "shifted": (0, (5, 2.5))}
INK = "0.25"  # of what belongs to no series
FEW = 4  # lines that are labelled directly; more have a legend
# Where a point's label may stand, best first: right and up, in half its own size and a gap [1]. Far ones get a line.
BESIDE = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1.6), (0, -1.6))
FAR = tuple((right, sign * up) for up in (2.2, 3.2, 4.4) for right in (0, -1, 1) for sign in (1, -1))


class Label(NamedTuple):
    """A text that stands beside a place of the data."""

    x: float
    y: float
    text: str
    colour: str = INK
    needed: bool = False  # whether it stands even where there is no free place


def files(stem: str, figure: Figure) -> dict[str, bytes]:
    """A figure as files by name: to look at, and to print."""
    return {f"{stem}.{ending}": picture(figure, ending) for ending in ("png", "pdf")}


def picture(figure: Figure, ending: str, dpi: int = 200, **told: str) -> bytes:
    """A figure as a "png", "pdf" or "svg" file: the same figure gives the same bytes, today and tomorrow. told: texts
    that a png carries, by name.  It keeps the layout that it has the first time: another would move it by a little with
    every drawing."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(ending, told or None)
    drawing = io.BytesIO()
    # Type 42: TrueType letters, which a PDF can be searched for and edited with; journals refuse Type 3.
    with matplotlib.rc_context({"svg.hashsalt": "patch-scaling", "pdf.fonttype": 42}):
        figure.savefig(drawing, format=ending, dpi=dpi, metadata=undated)
    return drawing.getvalue()


def grid(number: int, columns: int, size: tuple[float, float], sharey: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, row by row. size: width and height of a panel [inches]."""
    columns = min(columns, number)
    rows = -(-number // columns)
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    spots = list(figure.subplots(rows, columns, squeeze=False, sharey=sharey).ravel())
    for axes in spots[number:]:
        axes.set_axis_off()
    return figure, spots[:number]


def patch_axis(axes: Axes, patches: pd.Series, room: float = 1.0) -> None:
    """Log2 axis, small patches to the right; room: how far it goes on past the smallest, for labels [ratio]."""
    axes.set_xscale("log", base=2)
    sizes = sorted(patches.unique())
    axes.set_xlim(sizes[-1] * 1.25, sizes[0] / (1.25 * room))
    _ticks_at(axes, sizes)
    axes.set_xlabel("patch side [px], log scale; smaller patches, more tokens \N{RIGHTWARDS ARROW}")


def image_axis(axes: Axes, images: pd.Series, room: float = 1.0) -> None:
    """Log2 axis of image sides, large ones to the right; room as in patch_axis."""
    axes.set_xscale("log", base=2)
    sizes = sorted(images.unique())
    axes.set_xlim(sizes[0] / 1.15, sizes[-1] * 1.15 * room)
    _ticks_at(axes, sizes)
    axes.set_xlabel("side of the image [px], log scale")


def cost_axis(axes: Axes, costs: pd.Series, label: str, room: float = 0.0) -> None:
    """Log axis, dear to the right, with ticks as 1M, 2G; a few counts that lie apart have ticks of their own.
    costs: > 0.  room: how far it goes on past the dearest, for labels [share of what the costs span]."""
    low, high = float(costs.min()), float(costs.max())
    span = high / low if high > low else 2.0
    axes.set_xscale("log", base=10)
    ends = low / span**0.07, high * span ** (0.07 + room)
    axes.set_xlim(*ends)
    values = sorted(costs.unique())
    if high < 1e6 and all(large > 1.9 * small for small, large in pairwise(values)):
        _ticks_at(axes, values)
    else:
        axes.xaxis.set_major_locator(FixedLocator(round_ticks(*ends, most=7)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel(label)


def loss_axis(axes: Axes, losses: pd.Series) -> None:
    """Log axis over the measured losses, with plain numbers: ticks at round losses, however few decades there are. A
    loss of 0 has no place on it."""
    losses = losses[losses > 0]
    if losses.empty:
        return
    room = 1.12 * (losses.max() / losses.min()) ** 0.12  # on both sides; a band that is wider runs out of the picture
    low, high = losses.min() / room, losses.max() * room
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator(round_ticks(low, high)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
    axes.set_ylabel("test loss [nats], log scale")
    open_frame(axes)


def open_frame(axes: Axes) -> None:
    """A light grid behind the data, and no lines above and to the right."""
    axes.grid(True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def round_ticks(low: float, high: float, most: int = 12) -> list[float]:
    """Round numbers from low to high, > 0: evenly spaced ones where that is a short way, else 1, 2 and 5 times powers
    of ten, or the powers alone where these would be more than `most`."""
    ticks = [float(tick) for tick in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high) if tick > 0]
    if high > 6 * low:
        powers = [10.0**e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
        ticks = [m * power for power in powers for m in (1, 2, 5)]
        if sum(low <= tick <= high for tick in ticks) > most:
            ticks = powers
    return [tick for tick in ticks if low <= tick <= high]


def spread(places: ArrayLike, apart: float) -> list[float]:
    """The same places in the same order, no two closer than `apart`, moved as little as that takes (least squares)."""
    order = np.argsort(np.asarray(places, float), kind="stable")
    packed = np.asarray(places, float)[order] - apart * np.arange(len(order))  # these need only not fall
    blocks: list[list[float]] = []
    for place in packed:
        blocks.append([place])
        while len(blocks) > 1 and np.mean(blocks[-2]) >= np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    moved = np.empty(len(order))
    moved[order] = np.repeat([np.mean(block) for block in blocks], [len(block) for block in blocks])
    moved[order] += apart * np.arange(len(order))
    return [float(place) for place in moved]


def label_ends(axes: Axes, ends: Sequence[Label], apart: float = 0.06, gap: float = 0.04, size: float = 9.5) -> None:
    """The lines' names to the right of their last points, pushed apart where they would overlap.
    Limits and scales must be set.  apart, gap: least height between two names, and space before them [shares]."""
    if not ends:
        return
    _ = axes.get_xlim(), axes.get_ylim()  # brings limits up to date that matplotlib sets late
    to_shares = axes.transData + axes.transAxes.inverted()
    places = to_shares.transform([(end.x, end.y) for end in ends])
    behind = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5}
    heights = _kept_inside(spread(places[:, 1], apart), apart)
    for end, across, height in zip(ends, places[:, 0], heights, strict=True):
        x, y = to_shares.inverted().transform((across + gap, height))
        axes.text(x, y, end.text, color=end.colour, va="center", ha="left", fontsize=size, bbox=behind)


def _kept_inside(heights: list[float], apart: float) -> list[float]:
    """The same places in the same order, `apart` from each other, between the lower and the upper end of a panel as far
    as there is room [shares]."""
    order, kept, least = np.argsort(heights, kind="stable"), np.array(heights), 0.02
    most = max(0.98, least + apart * (len(heights) - 1))
    for number, k in enumerate(order):
        kept[k] = max(kept[k], least + apart * number)
    for number, k in enumerate(order[::-1]):
        kept[k] = min(kept[k], most - apart * number)
    return [float(height) for height in kept]


def label_points(
    axes: Axes, labels: Iterable[Label], size: float = 7.5, first: tuple[float, float] = BESIDE[0]
) -> None:
    """Texts beside points, each at the nearest place that is free of marks, lines and other texts. The first come
    first; one that finds no place is left out. first: the place to try before others.
    Call it last: places are free in the figure as it is laid out then."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    scale = figure.dpi / 72  # pixels a point
    taken = np.concatenate([_drawn(axes, scale), *(_box(text.get_window_extent()) for text in axes.texts)])
    legend = axes.get_legend()
    if legend is not None:
        taken = np.concatenate([taken, _box(legend.get_window_extent())])
    inside = _box(axes.get_window_extent().padded(2 * scale))[0]
    for label in labels:
        text = axes.text(label.x, label.y, label.text, fontsize=size, ha="center", va="center")
        box = _box(text.get_window_extent())[0]
        text.remove()
        reach = (box[2:] - box[:2]) / 2 + 6 * scale
        tried = (first, *BESIDE, *FAR) if label.needed else (first, *BESIDE)
        offsets = [np.array(beside) * reach * (0.85 if all(beside) else 1) for beside in tried]
        boxes = [box + np.tile(offset, 2) for offset in offsets]
        within = [bool((b[:2] >= inside[:2]).all() and (b[2:] <= inside[2:]).all()) for b in boxes]
        covered = [_covered(b, taken) if fits else 10**6 for b, fits in zip(boxes, within, strict=True)]
        best = int(np.argmin(covered))
        if covered[best] and not label.needed:
            continue
        _annotate(axes, label, tuple(offsets[best] / scale), size, led=best > len(BESIDE))
        taken = np.concatenate([taken, boxes[best][None]])


def _annotate(axes: Axes, label: Label, offset: tuple[float, float], size: float, led: bool) -> None:
    """A text so far from its point [points]; led: with a line to it."""
    leader = {"arrowstyle": "-", "color": label.colour, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 4} if led else None
    text = axes.annotate(
        label.text,
        (label.x, label.y),
        offset,
        textcoords="offset points",
        color=label.colour,
        fontsize=size,
        ha="center",
        va="center",
        arrowprops=leader,
    )
    text.set_in_layout(False)


def _drawn(axes: Axes, scale: float) -> np.ndarray:
    """Boxes (N, 4) of pixels that lines and marks cover: left, bottom, right, top."""
    boxes = [np.empty((0, 4))]
    for line in axes.lines:
        x, y = (np.asarray(values, float) for values in line.get_data())
        if line.get_drawstyle() == "steps-post":
            corners = line.get_transform().transform(np.stack([np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]], axis=1))
        else:
            corners = line.get_transform().transform(np.stack([x, y], axis=1))
        at = line.get_transform().transform(np.stack([x, y], axis=1))
        at = at[np.isfinite(at).all(axis=1)]
        if line.get_marker() not in ("", "None", None):
            reach = line.get_markersize() / 2 * scale
            boxes.append(np.concatenate([at - reach, at + reach], axis=1))
        corners = corners[np.isfinite(corners).all(axis=1)]
        if line.get_linestyle() != "None" and len(corners) > 1:
            steps = [np.linspace(a, b, 2 + int(np.hypot(*(b - a)) / 3)) for a, b in pairwise(corners)]
            along = np.concatenate(steps)
            boxes.append(np.concatenate([along - 1, along + 1], axis=1))
    return np.concatenate(boxes)


def _box(extent: Any) -> np.ndarray:
    return np.array([[extent.x0, extent.y0, extent.x1, extent.y1]])


def _covered(box: np.ndarray, others: np.ndarray) -> int:
    """How many of the others a box overlaps."""
    return int(((others[:, :2] < box[2:]) & (others[:, 2:] > box[:2])).all(axis=1).sum())


def _ticks_at(axes: Axes, values: Sequence[float]) -> None:
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def draw_band(axes: Axes, law: Fit, places: np.ndarray, colour: str, ends: tuple[float, float] | None = None) -> None:
    """The 95 % interval of a law, as far as it reaches; without ends only where it has two of them everywhere. Where
    the points do not tell how fast a law falls, it may do anything between them: then the interval stands as a bar at
    each of them alone.  ends: of the axis, where a wider interval is cut off."""
    bends = any(not known and name in ("alpha", "b") for name, known in law.identified.items())
    at = np.unique(law.x) if bends else places
    low, high = law.band(at)
    if ends is not None:
        low, high = np.clip(low, *ends), np.clip(high, *ends)
    if not np.all(np.isfinite(low) & np.isfinite(high)):
        return
    if bends:
        axes.vlines(at, low, high, color=colour, alpha=0.3, linewidth=5)
    else:
        axes.fill_between(places, low, high, color=colour, alpha=0.13, linewidth=0)


def room_for(texts: Iterable[str], span: float, size: float, inches: float) -> float:
    """How far an axis that spans a ratio has to go on past its last point, for names beside it [ratio].
    size: of the letters [points].  inches: width of the axes."""
    longest = max((len(text) for text in texts), default=0)
    share = min(0.6, longest * 0.52 * size / 72 / inches + 0.05)
    return max(span, 2.0) ** (share / (1 - share))


def handle(name: str, **style: Any) -> Line2D:
    """An entry of a legend."""
    return Line2D([], [], **{"color": INK, "label": name, **style})
