"""Figures: each function takes a frame or arrays and returns a matplotlib Figure; scripts write files, figures do not.

The only importer of matplotlib here, and never of pyplot: a Figure made by itself draws on any machine, with or
without a display, and leaves no state behind.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from analysis.forms import FORMS
from analysis.laws import Fit, fit
from analysis.runs import finished, labels
from scaling.recipe import HEADS, Recipe

# Okabe and Ito's colours, dark enough to be told apart in grey by their markers; and the markers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES: dict[str, Any] = {"power": "-", "shifted": (0, (5, 2.5))}
FEWEST_PATCHES = 3  # different patch sizes that a law is drawn from


def law_figure(frame: pd.DataFrame, forms: Sequence[str] = ("power", "shifted")) -> Figure:
    """Test loss against patch side, log-log, a series a group, every seed a point, with the fitted laws.

    frame: runs as analysis.runs.load gives them; those that did not finish are left out.  forms: the laws to draw,
    the power law as a line, the shifted one dashed.  The band is the 95 % interval of the last of them whose
    parameters the points identify, or else of the first: a law that is not identified has a band that says nothing.
    Patches get smaller to the right: that way cost grows and loss falls.  Losses of several tasks or data sets
    cannot be compared: each of these has a panel with axes of its own."""
    runs = finished(frame)
    runs = runs if "task" in runs else runs.assign(task=Recipe().task)
    panels = [its for _, its in runs.groupby(["task", "data"], sort=False)]
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(7.2 if columns == 1 else 6.4 * columns, 4.6 * rows), layout="constrained")
    spots = figure.subplots(rows, columns, squeeze=False).ravel()
    title = "Test loss and patch size"
    for axes, its in zip(spots, panels, strict=False):
        _draw_groups(axes, its, forms)
        what = _what(its, several=runs["task"].nunique() > 1)
        axes.set_title(what if len(panels) > 1 else f"{title}: {what}", loc="left", fontsize=11)
    for axes in spots[len(panels) :]:
        axes.set_axis_off()
    if len(panels) > 1:
        figure.suptitle(title, x=0.02, ha="left", fontsize=12)
    return figure


def crossing_figure(frame: pd.DataFrame) -> Figure:
    """Seconds of a training step per image against tokens, log-log, a line a backbone.

    frame: columns backbone, tokens [tokens], seconds_per_image [s]; as experiments/benchmark.py crossing keeps it."""
    figure = Figure(figsize=(6.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, points) in enumerate(frame.sort_values("tokens").groupby("backbone")):
        x, y = points["tokens"].to_numpy(float), points["seconds_per_image"].to_numpy(float)
        colour = COLOURS[number % len(COLOURS)]
        axes.loglog(x, y, MARKERS[number % len(MARKERS)], ls=("-", "--")[number % 2], color=colour, mew=1.4)
        axes.annotate(str(name), (x[-1], y[-1]), (6, 0), textcoords="offset points", color=colour, va="center")
    low, high = frame["tokens"].min(), frame["tokens"].max()
    axes.set_xlim(low / 1.3, high * 6)
    axes.xaxis.set_major_locator(FixedLocator(sorted(frame["tokens"].unique())))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: f"{tokens:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("tokens of an image")
    axes.set_ylabel("training step per image [s]")
    axes.set_title("What a longer sequence costs", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def sample_sheet(images_NHWC: ArrayLike, titles: Sequence[str] = (), columns: int = 8) -> Figure:
    """A sheet of images with a title each, pixels shown as they are.
    images_NHWC: bytes 0 to 255, or floats 0 to 1; N images of H x W px, C 3 or 1.  titles: none or N."""
    images = np.asarray(images_NHWC)
    if images.ndim != 4 or images.shape[3] not in (1, 3) or not len(images):
        raise ValueError(f"images have shape {images.shape}; (N, H, W, 3) or (N, H, W, 1) is needed, N 1 or more")
    if len(titles) not in (0, len(images)):
        raise ValueError(f"{len(titles)} titles for {len(images)} images")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height = 1.0 * images.shape[1] / images.shape[2] + (0.26 if titles else 0.06)
    tight = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.03, hspace=0.03)
    figure = Figure(figsize=(columns * 1.06, rows * height), layout=tight)
    for number, axes in enumerate(np.ravel(figure.subplots(rows, columns, squeeze=False))):
        axes.set_axis_off()
        if number < len(images):
            grey = images.shape[3] == 1
            limits = {"vmin": 0, "vmax": 255 if images.dtype == np.uint8 else 1}
            picture = images[number, :, :, 0] if grey else images[number]
            axes.imshow(picture, interpolation="nearest", cmap="gray", **limits)
            if titles:
                axes.set_title(titles[number], fontsize=7.5, pad=2)
    return figure


def study_figure(points: pd.DataFrame, x_label: str, title: str, base: int = 2) -> Figure:
    """Test loss of a study's runs, log-log: every seed a point, a line through their means.

    points: a row a run with x and test_loss [nats]; panel (one beside the other), colour and dash say which line it
    is on, note is what stands beside it.  base: of the horizontal axis, with ticks at the values; 0: ticks at round
    numbers."""
    panels = list(points["panel"].unique())
    figure = Figure(figsize=(7.2 if len(panels) == 1 else 4.8 * len(panels), 4.8), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True):
        its = points[points["panel"] == panel]
        for (colour, dash), line in its.groupby(["colour", "dash"], sort=False):
            _draw_line(axes, line, list(its["colour"].unique()).index(colour), list(its["dash"].unique()).index(dash))
        axes.set_xscale("log", base=base or 10)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(EngFormatter(sep="") if not base else FuncFormatter(lambda x, _: f"{x:,.0f}"))
        axes.xaxis.set_major_locator(FixedLocator(sorted(its["x"].unique())) if base else LogLocator(subs=(1, 2, 5)))
        axes.margins(x=0.08)
        axes.set_xlabel(x_label)
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False, fontsize=8.5, handlelength=3.5
        )
        _loss_axis(axes, points["test_loss"])
        if axes is not figure.axes[0]:
            axes.set_ylabel("")
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    return figure


def gap_figure(runs: pd.DataFrame, gaps: pd.DataFrame, metric: str, name: str, title: str) -> Figure:
    """A metric of both heads over patch size, and under it what the decoder gains; as published: hollow marks.

    runs: of studies.study_table, every seed a mark.  gaps: of head_gap.gaps; the lines go through its means and break
    where one is missing.  metric, name: the metric's column [%] and what to call it."""
    figure = Figure(figsize=(7.2, 6.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    by_backbone = {str(backbone): its.set_index("patch") for backbone, its in gaps.groupby("backbone", sort=False)}
    for number, (backbone, its) in enumerate(by_backbone.items()):
        colour, of = COLOURS[number % len(COLOURS)], f"{backbone} " if len(by_backbone) > 1 else ""
        for head, marker, dash in zip(HEADS, ("o", "s"), DASHES.values(), strict=True):
            seeds = runs[(runs["backbone"] == backbone) & (runs["head"] == head)].set_index("patch")[metric]
            style = {"marker": marker, "linestyle": dash, "color": colour, "label": of + head}
            _draw_means(above, its[f"{metric}_{head}"], seeds, its[f"paper_{head}"], style)
        gap, style = its[f"gap_{metric}"], {"marker": "D^vP"[number % 4], "color": colour, "label": of.strip()}
        _draw_means(below, gap, gap, its["gap_paper"], {**style, "linestyle": list(DASHES.values())[number % 2]})
    below.axhline(0, color="0.4", linewidth=0.9)
    for axes, apart in ((above, 0.055), (below, 0.11)):
        _patch_axis(axes, gaps["patch"], room=1.35)
        axes.grid(True, color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.margins(y=0.12)
        axes.spines[["top", "right"]].set_visible(False)
        _label_lines(axes, apart)
    above.set_xlabel("")
    above.set_ylabel(f"{name} [%]")
    below.set_ylabel(f"{HEADS[1]} minus {HEADS[0]}\n[points of {name}]")
    if gaps[f"gap_{metric}"].isna().all():
        below.text(0.5, 0.6, "no patch size has both heads", transform=below.transAxes, ha="center")
        below.set_yticks([0])
    if gaps[[f"paper_{head}" for head in HEADS]].notna().any(axis=None):
        hollow = Line2D([], [], ls="", marker="o", color="0.25", mfc="none", ms=11, mew=1.3)
        above.legend([hollow], ["hollow: as published, Table 2"], frameon=False, fontsize=8.5, loc="lower right")
    above.set_title(title, loc="left", fontsize=11)
    return figure


def _draw_means(axes: Axes, means: pd.Series, seeds: pd.Series, paper: pd.Series, style: dict[str, Any]) -> None:
    """A line through the means, broken where one is missing, a mark for every seed, and large hollow ones for what is
    published. All by patch size."""
    marks = {**style, "linestyle": "", "label": ""}
    axes.plot(means.index, means, **{**style, "marker": ""}, linewidth=1.5)
    axes.plot(seeds.index, seeds, **marks, markersize=5.5)
    axes.plot(paper.index, paper, **marks, markersize=11, mfc="none", mew=1.3)


def _label_lines(axes: Axes, apart: float) -> None:
    """The lines' names beside their last points, pushed apart where they would overlap: by a share of the height."""
    low, high = axes.get_ylim()
    ends: dict[float, list[tuple[float, str, Any]]] = {}  # by patch
    for line in axes.lines:
        x, y = (np.asarray(values, float) for values in line.get_data())
        if line.get_linestyle() != "None" and not str(line.get_label()).startswith("_") and np.isfinite(y).any():
            last = x[np.isfinite(y)].min()
            ends.setdefault(last, []).append((float(y[x == last][0]), str(line.get_label()), line.get_color()))
    behind = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5}
    for patch, names in ends.items():
        at = -np.inf
        for height, name, colour in sorted(names):
            at = max(height, at + apart * (high - low))
            axes.text(patch / 1.12, at, name, color=colour, va="center", ha="left", fontsize=9.5, bbox=behind)


def _draw_line(axes: Axes, line: pd.DataFrame, colour: int, dash: int) -> None:
    """One line of a study: its runs, their means joined, and their notes."""
    paint, marker = COLOURS[colour % len(COLOURS)], MARKERS[colour % len(MARKERS)]
    style = list(DASHES.values())[dash % len(DASHES)]
    name = ", ".join(filter(None, (str(line["colour"].iloc[0]), str(line["dash"].iloc[0]))))
    means = line.groupby("x")["test_loss"].mean()
    axes.plot(means.index, means, color=paint, linestyle=style, linewidth=1.5)
    face = paint if dash == 0 else "white"
    axes.plot(line["x"], line["test_loss"], marker, color=paint, mfc=face, mew=1.4, ms=6, zorder=4 - dash)
    axes.plot([], [], marker, color=paint, mfc=face, mew=1.4, ms=6, linestyle=style, linewidth=1.5, label=name)
    words: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7.5, "color": paint}
    for x, note in dict(zip(line["x"], line["note"], strict=True)).items():
        place: tuple[float, float] = (float(x), float(means[x]))
        if colour % 2:  # so that the notes of neighbours lie apart
            axes.annotate(note, place, (-4, -6), ha="center", va="top", **words)
        else:
            axes.annotate(note, place, (3, 5), ha="left", va="bottom", **words)


def _what(runs: pd.DataFrame, several: bool) -> str:
    """What one panel's runs learn. The task that a recipe has where it says none goes unsaid, unless there are several
    in the figure; so does the image where sizes differ: then the series say it."""
    (task,), (data,), images = (runs[column].unique() for column in ("task", "data", "image"))
    said = [task] if several or task != Recipe().task else []
    return " ".join([*said, data, *(f"{image} px" for image in images if len(images) == 1)])


def _draw_groups(axes: Axes, runs: pd.DataFrame, forms: Sequence[str]) -> None:
    """One panel of the law figure: the groups of one task and data set."""
    ends: list[tuple[float, str, str]] = []
    for number, (group, name) in enumerate(labels(runs).items()):
        points = runs[runs["group"] == group]
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        _draw_laws(axes, points, forms, colour)
        face = colour if number % 2 == 0 else "white"
        axes.plot(points["patch"], points["test_loss"], marker, color=colour, mfc=face, mew=1.4, ms=6.5, label=name)
        ends.append((float(points.loc[points["patch"] == points["patch"].min(), "test_loss"].mean()), name, colour))
    _patch_axis(axes, runs["patch"], room=1.35 if len(ends) <= 3 else 1.1)
    _loss_axis(axes, runs["test_loss"])
    if len(ends) <= 3:
        _label_ends(axes, float(runs["patch"].min()), ends)
    _key(axes, forms, series=len(ends) > 3)


def _draw_laws(axes: Axes, points: pd.DataFrame, forms: Sequence[str], colour: str) -> None:
    """The laws through one group's points, and the band of the last one."""
    if points["patch"].nunique() < FEWEST_PATCHES:
        return
    patch = np.geomspace(points["patch"].min() / 1.12, points["patch"].max() * 1.12, 80)
    forms = [form for form in forms if len(points) > len(FORMS[form].names)]  # else it goes through every point
    laws = [fit(points["patch"], points["test_loss"], form) for form in forms]
    for law in laws:
        axes.plot(patch, law.predict(patch), color=colour, linestyle=DASHES[law.form], linewidth=1.5)
    told = [law for law in laws if all(law.identified.values())]
    for law in told[-1:] or laws[:1]:
        _draw_band(axes, law, patch, colour)


def _draw_band(axes: Axes, law: Fit, patch: np.ndarray, colour: str) -> None:
    low, high = law.band(patch)
    if np.all(np.isfinite(low) & np.isfinite(high)):
        axes.fill_between(patch, low, high, color=colour, alpha=0.13, linewidth=0)


def _patch_axis(axes: Axes, patches: pd.Series, room: float) -> None:
    """Log2 axis, small patches to the right; room: how far it goes on past the smallest, for labels [ratio]."""
    axes.set_xscale("log", base=2)
    sizes = sorted(patches.unique())
    axes.set_xlim(sizes[-1] * 1.25, sizes[0] / (1.25 * room))
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:g}"))
    axes.set_xlabel("patch side [px], log scale; smaller patches, more tokens \N{RIGHTWARDS ARROW}")


def _loss_axis(axes: Axes, losses: pd.Series) -> None:
    """Log axis over the measured losses, with plain numbers: ticks at round losses, however few decades there are."""
    room = 1.12 * (losses.max() / losses.min()) ** 0.12  # on both sides; a band that is wider runs out of the picture
    low, high = losses.min() / room, losses.max() * room
    axes.set_yscale("log")
    ticks = [tick for tick in MaxNLocator(6).tick_values(low, high) if tick > 0]
    if high > 6 * low:
        ticks = [m * 10.0**e for e in range(-6, 7) for m in (1, 2, 5)]
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
    axes.set_ylabel("test loss [nats], log scale")
    axes.grid(True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _label_ends(axes: Axes, smallest: float, ends: list[tuple[float, str, str]]) -> None:
    """The series' names beside their last points, pushed apart where they would overlap."""
    low, high = np.log(axes.get_ylim())
    apart, last = 0.06 * (high - low), -np.inf
    for loss, name, colour in sorted(ends):
        last = max(np.log(loss), last + apart)
        axes.text(smallest / 1.16, np.exp(last), name, color=colour, va="center", ha="left", fontsize=9.5)


def _key(axes: Axes, forms: Sequence[str], series: bool) -> None:
    """What the lines mean; and, where there are too many series to label, the series."""
    text = {"power": r"power law  $A\,p^{\alpha}$", "shifted": r"shifted law  $L_\infty + A\,p^{\alpha}$"}
    handles: list[Any] = [Line2D([], [], color="0.25", linestyle=DASHES[form], label=text[form]) for form in forms]
    handles.append(Line2D([], [], color="0.25", alpha=0.16, linewidth=8, label="95 % interval"))
    if series:
        handles += axes.get_legend_handles_labels()[0]
    axes.legend(handles=handles, frameon=False, fontsize=8.5, loc="lower left")
