"""What a figure shows once it is drawn: for tests of labels, which overlap only on paper."""

from itertools import combinations, pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

SMALLEST = 7  # letters in print [points]
STEP = 2  # between points of a line that are looked at [pixels]


def said(figure: Figure) -> list[Text]:
    """Every text that can be seen: titles, labels, ticks, legends and what stands in the panels."""
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    hidden: set[Text] = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):  # ticks beyond the ends of an axis are there and not drawn
            low, high = sorted(axis.get_view_interval())
            beyond = {tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}
            hidden |= beyond if axes.axison else {tick.label1 for tick in axis.get_major_ticks()}
    return [text for text in texts if text not in hidden]


def faults(figure: Figure) -> dict[str, list]:
    """All that is wrong with the texts of a figure, by kind; empty where there is nothing."""
    texts = said(figure)
    found = {
        "overlapping": overlapping(figure, texts),
        "cut off": cut_off(figure, texts),
        "on marks": on_marks(figure),
        "on lines": on_lines(figure),
        "small": [text.get_text() for text in texts if text.get_fontsize() < SMALLEST],
    }
    return {kind: its for kind, its in found.items() if its}


def overlapping(figure: Figure, texts: list[Text] | None = None) -> list[tuple[str, str]]:
    """Pairs of texts that stand on each other, by more than a pixel. texts: of said."""
    texts = said(figure) if texts is None else texts
    boxes = [(text.get_text(), Text.get_window_extent(text).padded(-1)) for text in texts]  # without leaders
    return [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]


def cut_off(figure: Figure, texts: list[Text] | None = None) -> list[str]:
    """Texts that reach over the edge of the figure, by more than a pixel. texts: of said."""
    outer = figure.bbox
    return [
        text.get_text()
        for text in (said(figure) if texts is None else texts)
        for box in [Text.get_window_extent(text)]
        if box.x0 < outer.x0 - 1 or box.y0 < outer.y0 - 1 or box.x1 > outer.x1 + 1 or box.y1 > outer.y1 + 1
    ]


def on_marks(figure: Figure) -> list[str]:
    """Texts of panels, and legends, that stand on a mark, by more than a pixel. The figure must have been drawn."""
    return _standing(figure, _marks)


def on_lines(figure: Figure) -> list[str]:
    """Texts of panels, and legends, that a line of data crosses. The figure must have been drawn."""
    return _standing(figure, _lines)


def _standing(figure: Figure, drawn) -> list[str]:
    found = []
    for axes in figure.axes:
        texts = [(text.get_text(), Text.get_window_extent(text)) for text in axes.texts if text.get_text().strip()]
        texts += [("legend", one.get_window_extent()) for one in [*axes.findobj(Legend), *figure.legends]]
        boxes_N4 = drawn(axes) if texts else np.empty((0, 4))
        for text, box in texts:
            low, high = box.padded(-1).min, box.padded(-1).max
            if ((boxes_N4[:, :2] <= high) & (boxes_N4[:, 2:] >= low)).all(axis=1).any():
                found.append(text)
    return found


def _places(line) -> np.ndarray:
    """The points of a line (N, 2) [pixels]."""
    xy = np.stack([np.asarray(values, float) for values in line.get_data()], axis=1)
    at = line.get_transform().transform(xy)
    return at[np.isfinite(at).all(axis=1)]


def _marks(axes: Axes) -> np.ndarray:
    """Boxes of all marks (N, 4) [pixels]: left, bottom, right, top."""
    boxes = [np.empty((0, 4))]
    for line in axes.lines:
        if line.get_marker() not in ("", "None", None):
            reach = line.get_markersize() / 2 * axes.get_figure(root=True).dpi / 72
            boxes.append(np.tile(_places(line), 2) + np.repeat([-reach, reach], 2))
    return np.concatenate(boxes)


def _lines(axes: Axes) -> np.ndarray:
    """Points along all lines, as boxes (N, 4) [pixels]."""
    found = [np.empty((0, 2))]
    for line in axes.lines:
        corners = _places(line)
        if line.get_linestyle() == "None" or len(corners) < 2:
            continue
        if line.get_drawstyle() == "steps-post":
            corners = np.stack([np.repeat(corners[:, 0], 2)[1:], np.repeat(corners[:, 1], 2)[:-1]], axis=1)
        found += [np.linspace(a, b, 2 + int(np.hypot(*(b - a)) / STEP)) for a, b in pairwise(corners)]
    return np.tile(np.concatenate(found), 2)
