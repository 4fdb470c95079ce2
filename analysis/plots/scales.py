"""Scales of axes: patch sizes, image sizes, costs, counts and losses, with units and ticks at round numbers."""

import math
from collections.abc import Sequence
from itertools import pairwise

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from analysis.fitting.axes import AXES
from analysis.plots.style import LABEL, SMALLEST, open_frame, panel_width, text_width, x_label, y_label

PATCH_LABEL = AXES["patch"].label + "; smaller patches, more tokens \N{RIGHTWARDS ARROW}"
LOSS = "test loss [nats], log scale"
TICK = 0.42  # least width for a tick of a cost [inches]
GAP = 0.05  # between two numbers of an axis [inches]


def patch_axis(axes: Axes, patches: pd.Series, room: float = 1.0) -> None:
    """Log2 axis, small patches to the right; room: by which ratio it extends beyond the smallest, for labels."""
    axes.set_xscale("log", base=2)
    sizes = sorted(patches.unique())
    axes.set_xlim(sizes[-1] * 1.25, sizes[0] / (1.25 * room))
    _ticks_at(axes, sizes)
    fits = text_width(PATCH_LABEL, LABEL) <= panel_width(axes)
    x_label(axes, PATCH_LABEL if fits else AXES["patch"].label)


def image_axis(axes: Axes, images: pd.Series, room: float = 1.0) -> None:
    """Log2 axis of image sizes, large ones to the right; room as in patch_axis."""
    axes.set_xscale("log", base=2)
    sizes = sorted(images.unique())
    axes.set_xlim(sizes[0] / 1.15, sizes[-1] * 1.15 * room)
    _ticks_at(axes, sizes)
    x_label(axes, "image size [px], log scale")


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
        axes.xaxis.set_major_locator(FixedLocator(round_ticks(*ends, most=max(3, int(panel_width(axes) / TICK)))))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    x_label(axes, label)


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
    y_label(axes, LOSS)
    open_frame(axes)


def count_axis(axes: Axes, label: str) -> None:
    """A vertical log axis with ticks as 1k, 2M; the data must be drawn."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator(round_ticks(*axes.get_ylim(), most=9)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    y_label(axes, label)
    open_frame(axes)


def percent_axis(axes: Axes, values: pd.Series, label: str) -> None:
    """A vertical log axis of errors [%] with plain numbers at round ticks."""
    axes.set_yscale("log")
    axes.set_ylim(values.min() * 0.97, values.max() * 1.05)
    axes.yaxis.set_major_locator(FixedLocator(round_ticks(*axes.get_ylim())))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    y_label(axes, label)
    open_frame(axes)


def round_ticks(low: float, high: float, most: int = 12) -> list[float]:
    """Round numbers from low to high, > 0: evenly spaced for high up to 6 times low; else 1, 2 and 5 times powers of
    ten, where these are more than `most` 1 and 3 times, or the powers alone, or as many of them."""
    if high <= 6 * low:
        ticks = [float(tick) for tick in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high)]
        return [tick for tick in ticks if low <= tick <= high]
    powers = [10.0**e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    ticks = []
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [m * power for power in powers for m in factors if low <= m * power <= high]
        if len(ticks) <= most:
            return ticks
    return ticks[:: -(-len(ticks) // most)]


def _ticks_at(axes: Axes, values: Sequence[float]) -> None:
    """Ticks at these places of a log axis, whose ends are set; a number that would stand on the one before it is
    omitted."""
    low, high = (math.log(end) for end in axes.get_xlim())
    named: set[float] = set()
    end = -math.inf
    for value in sorted(values, reverse=low > high):
        at = (math.log(value) - low) / (high - low) * panel_width(axes)
        half = text_width(f"{value:,.0f}", SMALLEST) / 2
        if at - half > end:
            named.add(value)
            end = at + half + GAP
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value in named else ""))
