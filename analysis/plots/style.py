"""Style of all figures: size, letters, colours, dashes, titles and legends, and pictures as bytes.

Figures are drawn at the width at which they are printed (printed.py), with letters of SMALLEST points or more, and
legends below the panels. Functions return figures, and only scripts write files. pyplot is not used: a Figure works
without a display and has no global state.
"""

import io
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Literal, TypedDict

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.typing import LineStyleType
from typing_extensions import Unpack

from analysis.fitting.result import Fit
from analysis.plots.drawn_laws import interval_of
from analysis.plots.printed import chosen

HEADING, TITLE, LABEL, SMALLEST = 9.0, 8.0, 7.5, 7.0  # of figures, panels, axes, and of ticks and all else [points]
LINE = 1.3  # height of a line [its size]
MARGIN = 0.6  # of a panel, for ticks and labels [inches]
TALLEST = 1.15  # height of a panel [its width]
WIDE, HIGHER = 5.0, 1.25  # a panel of this width or more [inches] is higher by this factor
LEAST = 2.6  # least width of a panel, unless it is simple [inches]

DASHES: dict[str, LineStyleType] = {"power": "-", "shifted": (0, (5, 2.5))}
INK = "0.25"  # grey of elements that belong to no series
FEW = 4  # up to so many lines are labelled directly; more have a legend


class LineStyle(TypedDict, total=False):
    """Keywords of a line and its marks, as matplotlib's plot takes them."""

    alpha: float
    color: str
    label: str
    linestyle: LineStyleType
    linewidth: float
    ls: LineStyleType  # linestyle
    marker: str
    mew: float  # width of a mark's edge
    mfc: str  # colour of a mark's face
    ms: float  # size of a mark


def files(stem: str, figure: Figure) -> dict[str, bytes]:
    """A figure as files by name, in the chosen formats."""
    return {f"{stem}.{ending}": picture(figure, ending) for ending in chosen().formats}


def picture(figure: Figure, ending: str, dpi: int = 200, **metadata: str) -> bytes:
    """A figure as a "png", "pdf" or "svg" file; the same figure gives the same bytes. metadata: texts in a png, by
    name. The layout is fixed after the first drawing: constrained layout would change it slightly with every one."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(ending, metadata or None)
    drawing = io.BytesIO()
    # Texts remain texts that can be searched and edited: TrueType in a pdf, as journals reject Type 3, and <text> in an
    # svg, which the reader's program draws with its own letters where it has not these.
    with matplotlib.rc_context({"svg.hashsalt": "patch-scaling", "svg.fonttype": "none", "pdf.fonttype": 42}):
        figure.savefig(drawing, format=ending, dpi=dpi, metadata=undated)
    return drawing.getvalue()


def panel_rows(
    height: float,
    rows: int = 1,
    columns: int = 1,
    ratios: tuple[Sequence[float], Sequence[float]] | None = None,
    sharex: bool = False,
    sharey: bool | Literal["row"] = False,
) -> tuple[Figure, list[list[Axes]]]:
    """A figure of the chosen width, and its panels by row. height: of the panels together [inches]. ratios: of the
    heights of the rows and the widths of the columns, where they differ."""
    figure = Figure(figsize=(chosen().inches, height), layout="constrained")
    high, wide = ratios or ([1] * rows, [1] * columns)
    spots = figure.subplots(
        rows, columns, squeeze=False, sharex=sharex, sharey=sharey, height_ratios=high, width_ratios=wide
    )
    for axes in spots.ravel():
        axes.tick_params(which="both", labelsize=SMALLEST)
    return figure, [list(row) for row in spots]


def grid(
    number: int,
    columns: int,
    height: float,
    least: float = LEAST,
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[Figure, list[Axes]]:
    """A figure of the chosen width with `number` panels, row by row. columns: most of them, where there is room.
    height: of a panel about as wide as a column, at most TALLEST times its width; least: its least width [inches]."""
    columns = max(1, min(columns, number, int(chosen().inches / least)))
    rows, width = -(-number // columns), chosen().inches / columns
    high = min(height * (HIGHER if width > WIDE else 1), TALLEST * width)
    figure, by_row = panel_rows(rows * high, rows, columns, sharex=sharex, sharey=sharey)
    spots = [axes for row in by_row for axes in row]
    for axes in spots[number:]:
        axes.set_axis_off()
    return figure, spots[:number]


def panel_height(axes: Axes) -> float:
    """About the height of a panel's axes [inches]."""
    figure, place = axes.get_figure(root=True), axes.get_subplotspec()
    assert figure is not None
    return figure.get_figheight() / (place.get_gridspec().nrows if place else 1) - MARGIN


def panel_width(axes: Axes) -> float:
    """About the width of a panel's axes [inches]."""
    figure, place = axes.get_figure(root=True), axes.get_subplotspec()
    assert figure is not None
    return figure.get_figwidth() / (place.get_gridspec().ncols if place else 1) - MARGIN


def heading(figure: Figure, text: str) -> None:
    """The title of a figure, in as many lines as it needs, for which the figure gets higher."""
    lines = _wrapped(text, figure.get_figwidth() - 0.1, HEADING)
    figure.suptitle(lines, x=0.01, ha="left", fontsize=HEADING)
    _heighten(figure, (1 + lines.count("\n")) * HEADING * LINE / 72)


def panel_title(axes: Axes, text: str) -> None:
    """The title of a panel, which begins at its axes."""
    axes.set_title(_wrapped(text, panel_width(axes) - 0.15, TITLE), loc="left", fontsize=TITLE)


def x_label(axes: Axes, text: str) -> None:
    axes.set_xlabel(_wrapped(text, panel_width(axes), LABEL), fontsize=LABEL)


def y_label(axes: Axes, text: str) -> None:
    axes.set_ylabel(_wrapped(text, panel_height(axes), LABEL), fontsize=LABEL)


def shared_labels(figure: Figure, spots: Sequence[Axes], x: str, y: str) -> None:
    """One label for the vertical axes of all panels, and one for the horizontal axes of each column."""
    for axes in spots:
        axes.set_xlabel("")
        axes.set_ylabel("")
    place = spots[0].get_subplotspec()
    columns = place.get_gridspec().ncols if place else 1
    for axes in spots[-columns:]:
        x_label(axes, x)
    figure.supylabel(y, fontsize=LABEL)


def key(figure: Figure, handles: Iterable[Artist], what: str | None = None) -> None:
    """The legend, below all panels, one entry per name, in as many columns as there is room for; the figure gets higher
    by its height. what: its title."""
    of_name = {str(one.get_label()): one for one in handles}
    if not of_name:
        return
    width = figure.get_figwidth()
    letters = RendererAgg(1, 1, figure.dpi)  # measures texts
    names = [_wrapped(name, width - 0.6, SMALLEST) for name in of_name]
    for columns in range(min(len(names), 6), 0, -1):
        for old in figure.legends:
            old.remove()
        legend = figure.legend(
            list(of_name.values()),
            names,
            loc="outside lower left",
            ncols=columns,
            frameon=False,
            fontsize=SMALLEST,
            title=what,
            title_fontsize=SMALLEST,
            alignment="left",
            columnspacing=1.4,
            handletextpad=0.6,
        )
        box = legend.get_window_extent(letters).transformed(figure.dpi_scale_trans.inverted())
        if box.width <= width - 0.05:
            break
    _heighten(figure, box.height)


def _heighten(figure: Figure, more: float) -> None:
    figure.set_figheight(figure.get_figheight() + more)


def _wrapped(text: str, inches: float, size: float) -> str:
    """A text in lines of at most this width, as far as its words allow; a formula is left as it is."""
    if "$" in text:
        return text
    lines = []
    for line in text.split("\n"):
        first, *words = line.split(" ")
        lines.append(first)
        for word in words:
            longer = f"{lines[-1]} {word}"
            if text_width(longer, size) <= inches:
                lines[-1] = longer
            else:
                lines.append(word)
    return "\n".join(lines)


@cache
def text_width(text: str, size: float) -> float:
    """Width of a line of text of a size in points [inches]."""
    letters = RendererAgg(1, 1, 72)
    return letters.get_text_width_height_descent(text, FontProperties(size=size), "$" in text)[0] / 72


def open_frame(axes: Axes) -> None:
    """A light grid behind the data, and no lines above and to the right."""
    axes.grid(True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def draw_band(axes: Axes, law: Fit, places: np.ndarray, colour: str, ends: tuple[float, float] | None = None) -> None:
    """The 95 % interval of a law. ends: of the axis, at which it is clipped; without ends an interval that is infinite
    somewhere is not drawn. Where the exponent is not identified, the law is unconstrained between the points, and the
    interval is drawn as a bar at each of them."""
    at, low, high, bars = interval_of(law, places)
    if ends is not None:
        low, high = np.clip(low, *ends), np.clip(high, *ends)
    if not np.all(np.isfinite(low) & np.isfinite(high)):
        return
    if bars:
        axes.vlines(at, low, high, color=colour, alpha=0.3, linewidth=5)
    else:
        axes.fill_between(at, low, high, color=colour, alpha=0.13, linewidth=0)


def handle(name: str, **style: Unpack[LineStyle]) -> Line2D:
    """An entry of a legend."""
    complete: LineStyle = {"color": INK, "label": name, **style}
    return Line2D([], [], solid_capstyle="butt", **complete)
