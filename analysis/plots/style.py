"""Style of all figures: colours, dashes, axes with units, and pictures as bytes.

Functions return figures, and only scripts write files. pyplot is not used: a Figure works without a display and has no
global state.
"""

import io
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypedDict

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from matplotlib.typing import LineStyleType
from typing_extensions import Unpack

from analysis.fitting.axes import AXES
from analysis.fitting.result import Fit

DASHES: dict[str, LineStyleType] = {"power": "-", "shifted": (0, (5, 2.5))}
PATCH_LABEL = AXES["patch"].label + "; smaller patches, more tokens \N{RIGHTWARDS ARROW}"
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
    """A figure as files by name, png and pdf."""
    return {f"{stem}.{ending}": picture(figure, ending) for ending in ("png", "pdf")}


def picture(figure: Figure, ending: str, dpi: int = 200, **metadata: str) -> bytes:
    """A figure as a "png", "pdf" or "svg" file; the same figure gives the same bytes. metadata: texts in a png, by
    name. The layout is fixed after the first drawing: constrained layout would change it slightly with every one."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(ending, metadata or None)
    drawing = io.BytesIO()
    # Type 42: TrueType fonts, searchable and editable; journals reject Type 3.
    with matplotlib.rc_context({"svg.hashsalt": "patch-scaling", "pdf.fonttype": 42}):
        figure.savefig(drawing, format=ending, dpi=dpi, metadata=undated)
    return drawing.getvalue()


def grid(number: int, columns: int, size: tuple[float, float], sharey: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure with `number` panels, row by row. size: width and height of a panel [inches]."""
    columns = min(columns, number)
    rows = -(-number // columns)
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    spots = list(figure.subplots(rows, columns, squeeze=False, sharey=sharey).ravel())
    for axes in spots[number:]:
        axes.set_axis_off()
    return figure, spots[:number]


def patch_axis(axes: Axes, patches: pd.Series, room: float = 1.0) -> None:
    """Log2 axis, small patches to the right; room: by which ratio it extends beyond the smallest, for labels."""
    axes.set_xscale("log", base=2)
    sizes = sorted(patches.unique())
    axes.set_xlim(sizes[-1] * 1.25, sizes[0] / (1.25 * room))
    _ticks_at(axes, sizes)
    axes.set_xlabel(PATCH_LABEL)


def image_axis(axes: Axes, images: pd.Series, room: float = 1.0) -> None:
    """Log2 axis of image sizes, large ones to the right; room as in patch_axis."""
    axes.set_xscale("log", base=2)
    sizes = sorted(images.unique())
    axes.set_xlim(sizes[0] / 1.15, sizes[-1] * 1.15 * room)
    _ticks_at(axes, sizes)
    axes.set_xlabel("image size [px], log scale")


def cost_axis(axes: Axes, costs: pd.Series, label: str, room: float = 0.0) -> None:
    """Log axis of costs with ticks as 1M, 2G; a few well separated counts are their own ticks.
    costs: > 0.  room: by which fraction of its span it extends beyond the largest, for labels."""
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
    """Log axis over the measured losses with plain numbers at round ticks, also for less than a decade. Losses of 0 are
    ignored."""
    losses = losses[losses > 0]
    if losses.empty:
        return
    room = 1.12 * (losses.max() / losses.min()) ** 0.12  # on both sides; a wider band leaves the panel
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
    """Round numbers from low to high, > 0: evenly spaced for high up to 6 times low, else 1, 2 and 5 times powers of
    ten, or the powers alone where these would be more than `most`."""
    ticks = [float(tick) for tick in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high) if tick > 0]
    if high > 6 * low:
        powers = [10.0**e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
        ticks = [m * power for power in powers for m in (1, 2, 5)]
        if sum(low <= tick <= high for tick in ticks) > most:
            ticks = powers
    return [tick for tick in ticks if low <= tick <= high]


def _ticks_at(axes: Axes, values: Sequence[float]) -> None:
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def draw_band(axes: Axes, law: Fit, places: np.ndarray, colour: str, ends: tuple[float, float] | None = None) -> None:
    """The 95 % interval of a law. ends: of the axis, at which it is clipped; without ends an interval that is infinite
    somewhere is not drawn. Where the exponent is not identified, the law is unconstrained between the points, and the
    interval is drawn as a bar at each of them."""
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


def handle(name: str, **style: Unpack[LineStyle]) -> Line2D:
    """An entry of a legend."""
    complete: LineStyle = {"color": INK, "label": name, **style}
    return Line2D([], [], **complete)
