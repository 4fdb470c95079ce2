"""Study figures: ablations, benchmarks and sheets of images. Each function returns a Figure."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, NullLocator
from numpy.typing import ArrayLike

from analysis.plots.backbone_styles import styles
from analysis.plots.labels import Label, label_ends, label_points, room_for
from analysis.plots.printed import WIDTHS
from analysis.plots.scales import image_axis, loss_axis, patch_axis, round_ticks
from analysis.plots.style import (
    DASHES,
    SMALLEST,
    LineStyle,
    grid,
    handle,
    heading,
    key,
    open_frame,
    panel_rows,
    panel_title,
    x_label,
    y_label,
)
from scaling.config.task import SEGMENTATION_HEADS


def study_figure(points: pd.DataFrame, over: str, title: str, base: int = 2) -> Figure:
    """Test loss of a study's runs, log-log: every seed a point, a line through their means.

    points: a row per run with x and test_loss [nats]; panel, colour and dash identify its line, note is its label.
    over: label of x.  base: of the horizontal log axis, with ticks at the values; 0: base 10 with ticks at round
    numbers."""
    panels, looks = list(points["panel"].unique()), styles(points["colour"].unique())
    figure, spots = grid(len(panels), 2, 2.9, sharey=True)
    for axes, panel in zip(spots, panels, strict=True):
        its = points[points["panel"] == panel]
        for (colour, dash), line in its.groupby(["colour", "dash"], sort=False):
            _draw_line(axes, line, looks[colour], list(its["dash"].unique()).index(dash))
        axes.set_xscale("log", base=base or 10)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(EngFormatter(sep="") if not base else FuncFormatter(lambda x, _: f"{x:,.0f}"))
        places = sorted(its["x"].unique())
        axes.xaxis.set_major_locator(FixedLocator(places if base else round_ticks(places[0], places[-1], most=6)))
        axes.margins(x=0.08)
        x_label(axes, over)
        loss_axis(axes, points["test_loss"])
        if axes is not figure.axes[0]:
            y_label(axes, "")
        if len(panels) > 1:
            panel_title(axes, panel)
    heading(figure, title)
    key(figure, (entry for axes in spots for entry in axes.get_legend_handles_labels()[0]))
    for axes, panel in zip(spots, panels, strict=True):
        label_points(axes, _notes(points[points["panel"] == panel], looks))
    return figure


def _notes(points: pd.DataFrame, looks: Mapping[str, tuple[str, str]]) -> list[Label]:
    """The notes of a panel, each at the mean of its runs."""
    noted = points[points["note"] != ""]
    means = noted.groupby(["colour", "note", "x"], sort=False)["test_loss"].mean()
    return [
        Label(float(x), float(mean), note, looks[colour][0], needed=True) for (colour, note, x), mean in means.items()
    ]


def gap_figure(runs: pd.DataFrame, gaps: pd.DataFrame, metric: str, name: str, title: str) -> Figure:
    """A metric of both heads over patch size, and below it the gain of the decoder; published numbers are hollow marks.

    runs: of study_table, every seed a mark.  gaps: of upernet_gain.gaps; the lines go through its means and break where
    one is missing.  metric, name: the metric's column [%] and its name."""
    figure, [[above], [below]] = panel_rows(4.2, 2, 1, ratios=([2, 1], [1]), sharex=True)
    by_backbone = {str(backbone): its.set_index("patch") for backbone, its in gaps.groupby("backbone", sort=False)}
    looks = styles(by_backbone)
    for number, (backbone, its) in enumerate(by_backbone.items()):
        colour, of = looks[backbone][0], f"{backbone} " if len(by_backbone) > 1 else ""
        for head, marker, dash in zip(SEGMENTATION_HEADS, ("o", "s"), DASHES.values(), strict=True):
            seeds = runs[(runs["backbone"] == backbone) & (runs["head"] == head)].set_index("patch")[metric]
            style: LineStyle = {"marker": marker, "linestyle": dash, "color": colour, "label": of + head}
            _draw_means(above, its[f"{metric}_{head}"], seeds, its[f"paper_{head}"], style)
        gap, dash = its[f"gap_{metric}"], list(DASHES.values())[number % 2]
        style = {"marker": "D^vP"[number % 4], "color": colour, "label": of.strip(), "linestyle": dash}
        _draw_means(below, gap, gap, its["gap_paper"], style)
    below.axhline(0, color="0.4", linewidth=0.9)
    names = [end.text for axes in (above, below) for end in _ends_of_lines(axes)]
    for axes in (above, below):
        patch_axis(axes, gaps["patch"], room_for(axes, names, gaps["patch"].max() / gaps["patch"].min()))
        open_frame(axes)
        axes.margins(y=0.12)
    x_label(above, "")
    y_label(above, f"{name} [%]")
    plain, decoder = SEGMENTATION_HEADS
    y_label(below, f"{decoder} minus {plain}\n[points of {name}]")
    if gaps[f"gap_{metric}"].isna().all():
        below.text(0.5, 0.6, "no patch size has both heads", transform=below.transAxes, ha="center", fontsize=SMALLEST)
        below.set_yticks([0])
    if gaps[[f"paper_{head}" for head in SEGMENTATION_HEADS]].notna().any(axis=None):
        key(figure, [handle("hollow: published, Table 2", ls="", marker="o", mfc="none", ms=9, mew=1.3)])
    heading(figure, title)
    for axes in (above, below):
        label_ends(axes, _ends_of_lines(axes))
    return figure


def crossing_figure(frame: pd.DataFrame) -> Figure:
    """Seconds of a training step per image against tokens, log-log, a line per backbone.

    frame: columns backbone, tokens [tokens], seconds_per_image [s]; as written by experiments/benchmark.py crossing."""
    figure, [axes] = grid(1, 1, 2.9)
    ends = []
    looks = styles(frame["backbone"].unique())
    for number, (name, points) in enumerate(frame.sort_values("tokens").groupby("backbone")):
        x, y = points["tokens"].to_numpy(float), points["seconds_per_image"].to_numpy(float)
        colour, marker = looks[name]
        axes.loglog(x, y, marker, ls=("-", "--")[number % 2], color=colour, mew=1.4)
        ends.append(Label(x[-1], y[-1], str(name), colour))
    span = frame["tokens"].max() / frame["tokens"].min()
    room = room_for(axes, [end.text for end in ends], span)
    image_axis(axes, frame["tokens"], room)
    x_label(axes, "tokens per image, log scale")
    y_label(axes, "training step per image [s], log scale")
    panel_title(axes, "Training time by sequence length")
    axes.spines[["top", "right"]].set_visible(False)
    label_ends(axes, ends)
    return figure


def sample_sheet(images_NHWC: ArrayLike, titles: Sequence[str] = (), columns: int = 8) -> Figure:
    """A sheet of images with a title each, without interpolation, of the width of a page.
    images_NHWC: bytes 0 to 255, or floats 0 to 1; N images of H x W px, C 3 or 1.  titles: none or N."""
    images = np.asarray(images_NHWC)
    if images.ndim != 4 or images.shape[3] not in (1, 3) or not len(images):
        raise ValueError(f"images have shape {images.shape}; (N, H, W, 3) or (N, H, W, 1) is needed, N 1 or more")
    if len(titles) not in (0, len(images)):
        raise ValueError(f"{len(titles)} titles for {len(images)} images")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    side = WIDTHS["page"] / columns  # [inches]
    height = side * images.shape[1] / images.shape[2] + (0.3 if titles else 0.06)
    tight = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.03, hspace=0.03)
    figure = Figure(figsize=(WIDTHS["page"], rows * height), layout=tight)
    for number, axes in enumerate(np.ravel(figure.subplots(rows, columns, squeeze=False))):
        axes.set_axis_off()
        if number < len(images):
            grey = images.shape[3] == 1
            limits = {"vmin": 0, "vmax": 255 if images.dtype == np.uint8 else 1}
            picture = images[number, :, :, 0] if grey else images[number]
            axes.imshow(picture, interpolation="nearest", cmap="gray", **limits)
            if titles:
                axes.set_title(titles[number].replace(", ", ",\n"), fontsize=SMALLEST, pad=2)
    return figure


def _draw_line(axes: Axes, line: pd.DataFrame, look: tuple[str, str], dash: int) -> None:
    """One line of a study: its runs, and their means joined."""
    paint, marker = look
    style = list(DASHES.values())[dash % len(DASHES)]
    name = ", ".join(filter(None, (str(line["colour"].iloc[0]), str(line["dash"].iloc[0]))))
    means = line.groupby("x")["test_loss"].mean()
    axes.plot(means.index, means, color=paint, linestyle=style, linewidth=1.5)
    size = 6.5 if dash == 0 else 4.5  # hollow marks are reserved for published numbers
    axes.plot(line["x"], line["test_loss"], marker, color=paint, ms=size, zorder=4 - dash)
    axes.plot([], [], marker, color=paint, ms=size, linestyle=style, linewidth=1.5, label=name)


def _draw_means(axes: Axes, means: pd.Series, seeds: pd.Series, paper: pd.Series, style: LineStyle) -> None:
    """A line through the means, broken where one is missing, a mark for every seed, and large hollow ones for published
    numbers. All by patch size."""
    marks: LineStyle = {**style, "linestyle": "", "label": ""}
    line: LineStyle = {**style, "marker": ""}
    axes.plot(means.index, means, **line, linewidth=1.5)
    axes.plot(seeds.index, seeds, **marks, markersize=5.5)
    axes.plot(paper.index, paper, **marks, markersize=9, mfc="none", mew=1.3)


def _ends_of_lines(axes: Axes) -> list[Label]:
    """The names of the lines at their last points."""
    ends = []
    for line in axes.lines:
        x, y = (np.asarray(values, float) for values in line.get_data())
        if line.get_linestyle() != "None" and not str(line.get_label()).startswith("_") and np.isfinite(y).any():
            last = x[np.isfinite(y)].min()
            ends.append(Label(last, float(y[x == last][0]), str(line.get_label()), str(line.get_color())))
    return ends
