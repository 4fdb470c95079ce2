"""Labels: texts beside lines and points that do not overlap marks, lines and each other.

A place is tried after the other, from near to far, and the first free one is taken: so the same figure has the same
labels, and none is left on a line while there is room elsewhere. (adjustText moves texts by forces instead, which may
end with an overlap.) A share is a fraction of an axes' width or height. Labels are placed last, when the layout of the
figure is final.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.text import Text
from matplotlib.transforms import BboxBase
from numpy.typing import ArrayLike

from analysis.plots.style import INK, LINE, SMALLEST, panel_width, text_width

# Offsets of a point's label, in order of preference: right and up, in half its own size plus a gap [1].
BESIDE = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1.6), (0, -1.6))
REACH = 5.0  # from a point to the label beside it [points]
AWAY = (8, 13, 19, 26, 34, 43, 53, 64, 76, 90, 110, 135, 165, 200)  # farther places, with a leader line [points]
TURNS = 24  # of these at each distance
ON = 0.25  # cost of a text on a leader line [overlapped boxes]


class Label(NamedTuple):
    """A text at a place of the data."""

    x: float
    y: float
    text: str
    colour: str = INK
    needed: bool = False  # drawn even where no place is free


def spread(places: ArrayLike, apart: float) -> list[float]:
    """The places, moved as little as possible (least squares) so that no two are closer than `apart`, in the same
    order."""
    order = np.argsort(np.asarray(places, float), kind="stable")
    packed = np.asarray(places, float)[order] - apart * np.arange(len(order))  # must be non-decreasing
    blocks: list[list[float]] = []
    for place in packed:
        blocks.append([place])
        while len(blocks) > 1 and np.mean(blocks[-2]) >= np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    moved = np.empty(len(order))
    moved[order] = np.repeat([np.mean(block) for block in blocks], [len(block) for block in blocks])
    moved[order] += apart * np.arange(len(order))
    return [float(place) for place in moved]


def label_ends(axes: Axes, ends: Sequence[Label], gap: float = 6.0) -> None:
    """The lines' names to the right of their last points, moved apart where they would overlap; all to the right of the
    last one where a line or a mark is in the way. Limits and scales must be set.  gap: space before the names
    [points]."""
    if not ends:
        return
    scale = _laid_out(axes)
    to_shares = axes.transData + axes.transAxes.inverted()
    places = to_shares.transform([(end.x, end.y) for end in ends])
    most = max(end.text.count("\n") for end in ends) + 1
    apart = most * LINE * SMALLEST * scale / axes.bbox.height
    behind = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.3}
    heights = _kept_inside(spread(places[:, 1], apart), apart)
    left = places[:, 0] * axes.bbox.width + axes.bbox.x0 + gap * scale
    middle = np.array(heights) * axes.bbox.height + axes.bbox.y0
    wide = np.array([72 * scale * max(text_width(line, SMALLEST) for line in end.text.split("\n")) for end in ends])
    half = most * SMALLEST * scale / 2
    boxes = np.stack([left, middle - half, left + wide, middle + half], axis=1)
    if _covered(boxes, _drawn(axes, scale)).any():
        places[:, 0] = places[:, 0].max()
    for end, across, height in zip(ends, places[:, 0], heights, strict=True):
        x, y = to_shares.inverted().transform((across + gap * scale / axes.bbox.width, height))
        text = axes.text(x, y, end.text, color=end.colour, va="center", ha="left", fontsize=SMALLEST, bbox=behind)
        text.set_in_layout(False)


def _laid_out(axes: Axes) -> float:
    """Give the figure its final layout, which is kept from here on. Returns the number of pixels per point."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    return figure.dpi / 72


def _kept_inside(heights: list[float], apart: float) -> list[float]:
    """The places in the same order, at least `apart` from each other, inside the panel as far as there is room
    [shares]."""
    order, kept, least = np.argsort(heights, kind="stable"), np.array(heights), 0.02
    most = max(0.98, least + apart * (len(heights) - 1))
    for number, k in enumerate(order):
        kept[k] = max(kept[k], least + apart * number)
    for number, k in enumerate(order[::-1]):
        kept[k] = min(kept[k], most - apart * number)
    return [float(height) for height in kept]


def label_points(axes: Axes, labels: Iterable[Label], first: tuple[float, float] = BESIDE[0]) -> None:
    """Texts beside points, each at the nearest place that is free of marks, lines and other texts, in the given order;
    a label without a free place is omitted unless needed, which may be farther away, with a leader line. first: the
    place to try before others."""
    scale = _laid_out(axes)
    texts = [np.empty((0, 4)), *(_box(Text.get_window_extent(text)) for text in axes.texts)]
    written = np.concatenate(texts)
    drawn = _drawn(axes, scale)
    inside = _box(axes.get_window_extent().padded(2 * scale))[0]
    for label in labels:
        text = axes.text(label.x, label.y, label.text, fontsize=SMALLEST, ha="center", va="center")
        box = _box(text.get_window_extent())[0]
        text.remove()
        offsets = _offsets((box[2:] - box[:2]) / 2, scale, first, label.needed)
        boxes_P4 = box + np.tile(offsets, 2)
        within_P = (boxes_P4[:, :2] >= inside[:2]).all(axis=1) & (boxes_P4[:, 2:] <= inside[2:]).all(axis=1)
        cost_P = np.where(within_P, _covered(boxes_P4, drawn) + _covered(boxes_P4, written), 1e6)
        near = 1 + len(BESIDE)
        at = (box[:2] + box[2:]) / 2
        led = np.linspace(at, at + offsets[near:], 12, axis=1)  # along each leader line
        for k in range(led.shape[1]):
            cost_P[near:] += ON * _covered(np.tile(led[:, k], 2), written)
        best = int(np.argmin(cost_P))
        if cost_P[best] >= 1 and not label.needed:
            continue
        _annotate(axes, label, tuple(offsets[best] / scale), led=best >= near)
        written = np.concatenate([written, boxes_P4[best][None]])


def _offsets(half: np.ndarray, scale: float, first: tuple[float, float], far: bool) -> np.ndarray:
    """Places to try (P, 2), relative to the point [pixels]: first, BESIDE, and, where far, rings around it. half: width
    and height of the text [pixels]; scale: pixels per point."""
    reach = half + REACH * scale
    near = [np.array(beside) * reach * (0.85 if all(beside) else 1) for beside in (first, *BESIDE)]
    turns = 2 * math.pi * np.arange(TURNS) / TURNS
    unit_T2 = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    away = [unit_T2 * (half + distance * scale) for distance in AWAY] if far else []
    return np.concatenate([near, *away])


def _annotate(axes: Axes, label: Label, offset: tuple[float, float], led: bool) -> None:
    """A text at an offset from its point [points]; led: with a leader line."""
    leader = {"arrowstyle": "-", "color": label.colour, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 4} if led else None
    text = axes.annotate(
        label.text,
        (label.x, label.y),
        offset,
        textcoords="offset points",
        color=label.colour,
        fontsize=SMALLEST,
        ha="center",
        va="center",
        arrowprops=leader,
    )
    text.set_in_layout(False)


def _drawn(axes: Axes, scale: float) -> np.ndarray:
    """Boxes (N, 4) [pixels] that lines, bars and marks cover: left, bottom, right, top."""
    boxes = [np.empty((0, 4))]
    for line in axes.lines:
        x, y = (np.asarray(values, float) for values in line.get_data())
        at = line.get_transform().transform(np.stack([x, y], axis=1))
        corners = at
        if line.get_drawstyle() == "steps-post":
            corners = line.get_transform().transform(np.stack([np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]], axis=1))
        at = at[np.isfinite(at).all(axis=1)]
        if line.get_marker() not in ("", "None", None):
            reach = line.get_markersize() / 2 * scale
            boxes.append(np.concatenate([at - reach, at + reach], axis=1))
        if line.get_linestyle() != "None":
            boxes.append(_along(corners))
    for bars in axes.collections:
        if isinstance(bars, LineCollection):
            boxes += [_along(axes.transData.transform(bar)) for bar in bars.get_segments()]
    return np.concatenate(boxes)


def _along(corners: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) along a line through corners [pixels]."""
    corners = corners[np.isfinite(corners).all(axis=1)]
    steps = [np.linspace(a, b, 2 + int(np.hypot(*(b - a)) / 3)) for a, b in pairwise(corners)]
    along = np.concatenate([np.empty((0, 2)), *steps])
    return np.concatenate([along - 1, along + 1], axis=1)


def _box(extent: BboxBase) -> np.ndarray:
    return np.array([[extent.x0, extent.y0, extent.x1, extent.y1]])


def _covered(boxes_P4: np.ndarray, others_N4: np.ndarray) -> np.ndarray:
    """Number of the others that each box overlaps, (P,)."""
    low_PN2 = others_N4[None, :, :2] < boxes_P4[:, None, 2:]
    high_PN2 = others_N4[None, :, 2:] > boxes_P4[:, None, :2]
    return (low_PN2 & high_PN2).all(axis=2).sum(axis=1)


def room_for(axes: Axes, texts: Iterable[str], span: float) -> float:
    """By which ratio an axis must extend beyond its last point to make room for names. span: of the data [ratio]."""
    longest = max((text_width(line, SMALLEST) for text in texts for line in text.split("\n")), default=0.0)
    share = min(0.6, (longest + 0.15) / panel_width(axes))
    return max(span, 2.0) ** (share / (1 - share))
