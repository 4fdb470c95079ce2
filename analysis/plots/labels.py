"""Labels: texts beside lines and points that do not overlap marks, lines and each other.

A share is a fraction of an axes' width or height.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import BboxBase
from numpy.typing import ArrayLike

from analysis.plots.style import INK

# Offsets of a point's label, in order of preference: right and up, in half its own size plus a gap [1]. FAR ones get a
# leader line.
BESIDE = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1.6), (0, -1.6))
FAR = tuple((right, sign * up) for up in (2.2, 3.2, 4.4) for right in (0, -1, 1) for sign in (1, -1))


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


def label_ends(axes: Axes, ends: Sequence[Label], apart: float = 0.06, gap: float = 0.04, size: float = 9.5) -> None:
    """The lines' names to the right of their last points, moved apart where they would overlap.
    Limits and scales must be set.  apart, gap: smallest height between two names, and space before them [shares]."""
    if not ends:
        return
    _ = axes.get_xlim(), axes.get_ylim()  # updates limits that matplotlib sets lazily
    to_shares = axes.transData + axes.transAxes.inverted()
    places = to_shares.transform([(end.x, end.y) for end in ends])
    behind = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5}
    heights = _kept_inside(spread(places[:, 1], apart), apart)
    for end, across, height in zip(ends, places[:, 0], heights, strict=True):
        x, y = to_shares.inverted().transform((across + gap, height))
        axes.text(x, y, end.text, color=end.colour, va="center", ha="left", fontsize=size, bbox=behind)


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


def label_points(
    axes: Axes, labels: Iterable[Label], size: float = 7.5, first: tuple[float, float] = BESIDE[0]
) -> None:
    """Texts beside points, each at the nearest place that is free of marks, lines and other texts, in the given order;
    a label without a free place is omitted unless needed. first: the place to try before others. Call it last, when the
    layout of the figure is final."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    scale = figure.dpi / 72  # pixels per point
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
    """A text at an offset from its point [points]; led: with a leader line."""
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
    """Boxes (N, 4) [pixels] that lines and marks cover: left, bottom, right, top."""
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


def _box(extent: BboxBase) -> np.ndarray:
    return np.array([[extent.x0, extent.y0, extent.x1, extent.y1]])


def _covered(box: np.ndarray, others: np.ndarray) -> int:
    """Number of the others that a box overlaps."""
    return int(((others[:, :2] < box[2:]) & (others[:, 2:] > box[:2])).all(axis=1).sum())


def room_for(texts: Iterable[str], span: float, size: float, inches: float) -> float:
    """By which ratio an axis must extend beyond its last point to make room for names.
    span: of the data [ratio].  size: of the letters [points].  inches: width of the axes."""
    longest = max((len(text) for text in texts), default=0)
    share = min(0.6, longest * 0.52 * size / 72 / inches + 0.05)
    return max(span, 2.0) ** (share / (1 - share))
