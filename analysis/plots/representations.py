"""Similarity figures: the matrix of CKA, CKA at the same layer between patch sizes, and two maps of the distances. A
panel per kind of tokens. Each function returns a Figure."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from analysis.plots.backbone_styles import COLOURS, MARKERS
from analysis.plots.labels import Label, label_points
from analysis.plots.printed import chosen
from analysis.plots.style import (
    INK,
    LABEL,
    LINE,
    SMALLEST,
    files,
    grid,
    key,
    open_frame,
    panel_height,
    panel_rows,
    panel_title,
    panel_width,
    x_label,
    y_label,
)
from analysis.similarity.similarities import Similarities

SHADES = "viridis"
NUMBERS = 8  # up to so many columns have their numbers written in the cells


def figures(found: Sequence[Similarities]) -> dict[str, bytes]:
    """All of them as files by name; a single model has none of the same layer."""
    several = len(found[0].models) > 1
    of_layers = files("same_layer", same_layer_figure(found)) if several else {}
    maps = files("map", map_figure(found)) | files("tsne", tsne_figure(found))
    return files("matrix", matrix_figure(found)) | of_layers | maps


def matrix_figure(found: Sequence[Similarities]) -> Figure:
    """CKA of all pairs of layers, model by model, from the first layer to the last."""
    figure, spots = grid(len(found), len(found), 2.9)
    for axes, one in zip(spots, found, strict=True):
        image = _heat(axes, one.cka_PP)
        panel_title(axes, one.tokens)
        counts = [len(one.layers(model)) for model in one.models]
        ends = np.cumsum(counts) - 0.5
        for end in ends[:-1]:
            axes.axhline(end, color="white", linewidth=1)
            axes.axvline(end, color="white", linewidth=1)
        if len(counts) == 1:
            _ticks(axes, range(counts[0]), one.layers(one.models[0]))
        else:
            _ticks(axes, (ends - np.array(counts) / 2).tolist(), [model.label for model in one.models])
    several = len(found[0].models) > 1
    y_label(spots[0], "model, its layers from the first to the last" if several else "layer")
    _scale(figure, image, spots, 0.75)
    return figure


def same_layer_figure(found: Sequence[Similarities]) -> Figure:
    """CKA between models at the same layer: a row per layer, a column per pair of models."""
    tables = [one.same_layer() for one in found]
    layers, pairs = max((table.index for table in tables), key=len), max(len(table.columns) for table in tables)
    few = pairs <= NUMBERS
    least = (0.32 if few else 0.13) * pairs + 0.9  # width that the names of the columns need [inches]
    columns = max(1, min(len(found), int((chosen().inches - 0.5) / least)))
    rows = -(-len(found) // columns)
    figure, by_row = panel_rows(rows * max(2.6, 0.16 * len(layers) + 1.2), rows, columns)
    spots = [axes for row in by_row for axes in row]
    for axes in spots[len(found) :]:
        axes.set_axis_off()
    for axes, one, table in zip(spots, found, tables, strict=False):
        image = _heat(axes, table.reindex(layers).to_numpy(), "auto")
        panel_title(axes, one.tokens)
        names = [name.replace(" and ", "\n" if few else ", ") for name in table.columns]
        axes.set_xticks(range(len(names)), names, fontsize=SMALLEST, rotation=0 if few else 90)
        axes.set_yticks(range(len(layers)), layers, fontsize=SMALLEST)
        axes.tick_params(length=0)
        if few:
            _write(axes, table.reindex(layers).to_numpy())
    y_label(spots[0], "layer")
    _scale(figure, image, spots, 1.0)
    return figure


def map_figure(found: Sequence[Similarities]) -> Figure:
    """The layers as points whose distances are close to arccos of CKA: a line per model through its layers."""
    figure = _map(found, [one.plane.places_P2 for one in found])
    for axes, one in zip(figure.axes, found, strict=True):
        panel_title(axes, f"{one.tokens} ({100 * one.plane.explained:.0f} % of the variance)")
        x_label(axes, "first axis of arccos CKA [rad]")
        y_label(axes, "second axis [rad]")
    return _named(figure, found, [one.plane.places_P2 for one in found])


def tsne_figure(found: Sequence[Similarities]) -> Figure:
    """The layers by t-SNE of arccos CKA: which are neighbours; a distance between groups has no meaning. A line per
    model through its layers."""
    figure = _map(found, [one.tsne_P2 for one in found])
    for axes, one in zip(figure.axes, found, strict=True):
        panel_title(axes, one.tokens)
        x_label(axes, "t-SNE of arccos CKA")
        axes.tick_params(labelbottom=False, labelleft=False, length=0)  # the axes have no unit
    return _named(figure, found, [one.tsne_P2 for one in found])


def _map(found: Sequence[Similarities], places: Sequence[np.ndarray]) -> Figure:
    """A panel per kind of tokens with a line per model through its layers. places: (P, 2) of the points of each."""
    figure, spots = grid(len(found), 2, 3.2)
    for axes, one, places_P2 in zip(spots, found, places, strict=True):
        for n, model in enumerate(one.models):
            places_n2 = places_P2[[place.model == model for place in one.places]]
            colour, marker = COLOURS[n % len(COLOURS)], MARKERS[(n + n // len(COLOURS)) % len(MARKERS)]
            axes.plot(*places_n2.T, color=colour, marker=marker, linewidth=1, markersize=4.5, label=model.label)
        axes.set_aspect("equal", "datalim")
        open_frame(axes)
    key(figure, spots[0].get_legend_handles_labels()[0])
    return figure


def _named(figure: Figure, found: Sequence[Similarities], places: Sequence[np.ndarray]) -> Figure:
    """The names of the first and the last layer beside their points, once all else has its place."""
    for axes, one, places_P2 in zip(figure.axes, found, places, strict=True):
        ends = []
        for model in one.models:
            its = [n for n, place in enumerate(one.places) if place.model == model]
            ends += [its[0], its[-1]]
        at = places_P2.tolist()
        label_points(axes, [Label(at[n][0], at[n][1], one.places[n].layer) for n in dict.fromkeys(ends)])
    return figure


def _write(axes: Axes, cka: np.ndarray) -> None:
    """Numbers in the cells that have one."""
    for (row, column), value in np.ndenumerate(cka):
        if np.isfinite(value):
            colour = "white" if value < 0.6 else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=SMALLEST, color=colour)


def _heat(axes: Axes, cka: np.ndarray, aspect: Literal["equal", "auto"] = "equal") -> AxesImage:
    """Colours from 0 to 1; an estimate slightly below 0 has the colour of 0."""
    return axes.imshow(cka, cmap=SHADES, vmin=0, vmax=1, aspect=aspect, interpolation="nearest")


def _scale(figure: Figure, image: AxesImage, spots: Sequence[Axes], shrink: float) -> None:
    """The scale of the colours, beside the panels."""
    bar = figure.colorbar(image, ax=list(spots), shrink=shrink)
    bar.set_label("CKA", fontsize=LABEL)
    bar.ax.tick_params(labelsize=SMALLEST)


def _ticks(axes: Axes, places: Sequence[float], names: Sequence[str]) -> None:
    """The names of rows and columns, or every second or third where there is no room for all."""
    side = min(panel_width(axes), panel_height(axes))
    every = math.ceil(len(names) * LINE * SMALLEST / 72 / side)
    shown = [name if number % every == 0 else "" for number, name in enumerate(names)]
    axes.set_xticks(places, shown, rotation=90 if max(map(len, names)) > 4 or every > 1 else 0, fontsize=SMALLEST)
    axes.set_yticks(places, shown, fontsize=SMALLEST)
    axes.tick_params(length=0, colors=INK)
