"""Panels of Figure 1 of arXiv 2502.03738: test loss over patch size, on the paper's axis and on a logarithmic axis.

A panel draws into axes that have their patch axis, from rows with patch [px], axis_l_inf, published and own [nats].
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.fitting.laws import Fit, fit
from analysis.plots.backbone_styles import COLOURS, MARKERS
from analysis.plots.scales import loss_axis
from analysis.plots.style import DASHES, LINE, SMALLEST, LineStyle, draw_band, open_frame, panel_height, panel_width

SOURCES = ("published", "own")  # columns; published numbers are hollow
HOLLOW: LineStyle = {"color": COLOURS[0], "marker": MARKERS[0], "mfc": "white", "ls": "", "mew": 1.4, "ms": 6}
FEWEST = 4  # patch sizes that both laws need: the shifted one has three parameters
L_INF = r"$L_\infty$"
ROOMY = 2.5  # width of a panel for all texts of several series [inches]
PAPER = "the paper's points"


def draw_as_published(axes: Axes, its: pd.DataFrame) -> None:
    """A panel of figure 1 on log(L - L_inf)."""
    floor = float(its["axis_l_inf"].iloc[0])
    above = its[list(SOURCES)].to_numpy(float) - floor
    above = above[above > 0] if (above > 0).any() else np.array([0.1 * floor])
    room = max(1.05, (above.max() / above.min()) ** 0.12)
    ends = floor + above.min() / room, floor + above.max() * room
    least = (ends[0] - floor) * 1e-3  # lower bound of loss - L_inf, far below the axis

    axes.set_yscale("function", functions=(lambda y: np.log(np.maximum(y - floor, least)), lambda z: floor + np.exp(z)))
    axes.set_ylim(*ends)
    axes.yaxis.set_major_locator(FixedLocator(ticks_above(floor, *ends)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
    open_frame(axes)
    below = []
    for series in each_series(its):
        on = series.loss > floor
        if series.patch[on].nunique() > 1:
            slope, height = np.polyfit(np.log(series.patch[on]), np.log(series.loss[on] - floor), 1)
            line = floor + np.exp(height + slope * np.log(series.places))
            axes.plot(series.places, line, color=series.marks["color"], linewidth=1.4)
        if series.patch.nunique() >= FEWEST:
            law = fit(series.patch, series.loss, "shifted")
            draw_band(axes, law, series.places, series.marks["color"], ends)
        axes.plot(series.patch[on], series.loss[on], **series.marks)
        if not on.all():
            below.append(f"{series.name}: {(~on).sum()} below {L_INF} {floor:.3f}")
    axes.text(0.98, 0.98, "\n".join(below), fontsize=SMALLEST, transform=axes.transAxes, ha="right", va="top")


def ticks_above(floor: float, low: float, high: float, number: int = 5) -> list[float]:
    """Round losses from low to high, about evenly spaced on log(L - floor): each the roundest number near an even
    place."""
    even = np.linspace(np.log(low - floor), np.log(high - floor), number + 1)
    ticks = []
    for below, above in pairwise(even):
        quarter = (above - below) / 4  # keeps ticks half an interval apart
        ends = floor + np.exp(below + quarter), floor + np.exp(above - quarter)
        ticks.append(_roundest(*ends, middle=floor + np.exp((below + above) / 2)))
    return ticks


def _roundest(low: float, high: float, middle: float) -> float:
    """The multiple of the largest of 1, 0.5, 0.2, 0.1, 0.05 … strictly between low and high, the closest to middle."""
    for power in range(1, -8, -1):
        for step in (5, 2, 1):
            size = step * 10.0**power
            places = size * np.arange(np.ceil(low / size), np.floor(high / size) + 1)
            places = places[(places > low) & (places < high)]
            if len(places):
                return float(f"{places[np.argmin(np.abs(places - middle))]:.10g}")
    return middle


def draw_log_log(axes: Axes, its: pd.DataFrame) -> None:
    """A panel of Figure 1 with a logarithmic loss axis, both laws and their L_inf and R^2, where there is room."""
    loss_axis(axes, pd.concat([its[source].dropna() for source in SOURCES]))
    low, high = axes.get_ylim()
    every = list(each_series(its))
    drawn = []
    for series in every:
        axes.plot(series.patch, series.loss, **series.marks)
        if series.patch.nunique() < FEWEST:
            continue
        colour = series.marks["color"]
        laws = [fit(series.patch, series.loss, form) for form in DASHES]
        for law in laws:
            axes.plot(series.places, law.predict(series.places), color=colour, ls=DASHES[law.form], linewidth=1.4)
        draw_band(axes, laws[-1], series.places, colour, (low, high))
        whose = "our fit" if series.name == PAPER else series.name
        text = [f"{whose}:"] if len(every) > 1 else []
        text += _floor_text(laws[-1])
        if len(every) == 1 or panel_width(axes) > ROOMY:  # else there is no room for more
            text += [f"$R^2$ {laws[0].r2:.3f} power,", f"{laws[-1].r2:.3f} shifted"]
        drawn.append((text, colour))
    line = LINE * SMALLEST / 72 / panel_height(axes)  # [share]
    room = min(0.6, line * sum(len(text) for text, _ in drawn))
    axes.set_ylim(low, high * (high / low) ** (room / (1 - room)))
    height = 0.99
    for text, colour in drawn:
        axes.text(
            0.98,
            height,
            "\n".join(text),
            color=colour,
            fontsize=SMALLEST,
            transform=axes.transAxes,
            ha="right",
            va="top",
            linespacing=1.05,
        )
        height -= line * len(text)


def _floor_text(law: Fit) -> list[str]:
    """The interval of L_inf of a shifted law, in lines."""
    low, high = law.intervals["L_inf"]
    if law.identified["L_inf"]:
        return [f"{L_INF} {low:.3f} to {high:.3f}"]
    return [f"{L_INF} not identified", *([f"(at most {high:.3f})"] if np.isfinite(high) else [])]


class Series(NamedTuple):
    """The losses of a panel that one law is fitted to: published ones, or those of own runs of one group."""

    name: str
    patch: pd.Series
    loss: pd.Series
    places: np.ndarray  # patch sizes to draw the law at [px]
    marks: LineStyle


def each_series(its: pd.DataFrame) -> Iterator[Series]:
    """The published series, whose rows may be repeated, and own series by model and label."""
    published = its.dropna(subset=["published"]).drop_duplicates("patch")
    if len(published):
        yield _series(PAPER, published, "published", HOLLOW)
    models = {model for model in published.get("model", []) if isinstance(model, str)}
    for number, (words, points) in enumerate(own_series(its, "model"), start=1):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        marks: LineStyle = {**HOLLOW, "color": colour, "marker": marker, "mfc": colour, "ms": 5}
        yield _series(" ".join(["own", *(word for word in words if word not in models)]), points, "own", marks)


def own_series(its: pd.DataFrame, *columns: str) -> Iterator[tuple[list[str], pd.DataFrame]]:
    """Own rows by series, each with its distinguishing words: the columns, and label where there is one."""
    own = its.dropna(subset=["own"])
    keys = own.reindex(columns=[*columns, "label"]).fillna("").astype(str)
    for words, points in own.groupby([keys[column] for column in keys], sort=False):
        yield [str(word) for word in words if word], points


def _series(name: str, points: pd.DataFrame, source: str, marks: LineStyle) -> Series:
    patch = points["patch"]
    return Series(name, patch, points[source], np.geomspace(patch.min() / 1.12, patch.max() * 1.12, 60), marks)
