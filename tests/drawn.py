"""What a figure shows once it is drawn: for tests of labels, which overlap only on paper."""

from itertools import combinations

from matplotlib.figure import Figure
from matplotlib.text import Text


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


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that stand on each other, by more than a pixel."""
    boxes = [(text.get_text(), Text.get_window_extent(text).padded(-1)) for text in said(figure)]  # without leaders
    return [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]


def cut_off(figure: Figure) -> list[str]:
    """Texts that reach over the edge of the figure, by more than a pixel."""
    outer = figure.bbox
    return [
        text.get_text()
        for text in said(figure)
        for box in [Text.get_window_extent(text)]
        if box.x0 < outer.x0 - 1 or box.y0 < outer.y0 - 1 or box.x1 > outer.x1 + 1 or box.y1 > outer.y1 + 1
    ]
