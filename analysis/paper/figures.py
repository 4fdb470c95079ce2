"""Paper figures: Figures 1 to 4 of arXiv 2502.03738, with published and own numbers.

Each function takes the tidy frame of a PaperTable (analysis.paper.figure_data), a row per number with columns
`published` and `own` (nan: missing), and returns a Figure; ValueError where no row has a number. Optional columns:
data, and label, which distinguishes several own lines with one published line, whose numbers are then repeated.
Published numbers are hollow and dashed, own ones filled."""

import math
from collections.abc import Hashable, Iterable, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.fitting.axes import AXES
from analysis.paper.figure1_panels import L_INF, SOURCES, draw_as_published, draw_log_log, own_series
from analysis.plots.backbone_styles import styles
from analysis.plots.labels import Label, label_ends, label_points, room_for
from analysis.plots.scales import cost_axis, image_axis, patch_axis
from analysis.plots.style import (
    DASHES,
    INK,
    grid,
    handle,
    key,
    open_frame,
    panel_title,
    shared_labels,
    x_label,
    y_label,
)

DATA = {"imagenet": "ImageNet-1k", "ade20k": "ADE20K", "coco": "COCO"}


def figure1(frame: pd.DataFrame) -> Figure:
    """Test loss by patch size as the paper draws it: nine panels on log(L - L_inf), L_inf that of the panel's axis.

    frame: columns panel, task, model (optional), input or input_px, patch [px], axis_l_inf [nats], published, own
    [nats].  Ticks are labelled with the loss.  The line is the law L_inf + A p^alpha with L_inf fixed to the axis's,
    which is straight on this axis.  The band is the 95 % profile interval of the law with L_inf fitted, clipped at the
    edges.  Own losses not above the axis's L_inf cannot be drawn; the panel gives their number."""
    figure, panels = _panels(frame)
    for axes, its in panels:
        draw_as_published(axes, its)
    shared_labels(
        figure, [axes for axes, _ in panels], AXES["patch"].label, rf"test loss [nats], $\log(L -$ {L_INF}$)$ scale"
    )
    entries = [
        handle(f"{L_INF} of the axis: a straight line"),
        _band_key(f"95 % interval with fitted {L_INF}"),
    ]
    _key(figure, frame, entries)
    return figure


def figure1_honest(frame: pd.DataFrame) -> Figure:
    """The panels of figure 1 log-log, on which a power law is straight: both laws, the 95 % profile interval of the
    shifted one, R^2 of log L and the interval of L_inf of our fits.

    frame: as for figure1; axis_l_inf is not used."""
    figure, panels = _panels(frame)
    for axes, its in panels:
        draw_log_log(axes, its)
    shared_labels(figure, [axes for axes, _ in panels], AXES["patch"].label, "test loss [nats], log scale")
    entries = [handle(r"our power law $A\,p^{\alpha}$", ls=DASHES["power"])]
    entries += [handle(rf"our shifted law {L_INF}$ + A\,p^{{\alpha}}$", ls=DASHES["shifted"])]
    entries += [_band_key("95 % interval of the shifted law")]
    _key(figure, frame, entries)
    return figure


def figure2(frame: pd.DataFrame) -> Figure:
    """mIoU of a linear head and of UperNet by patch size, a panel per model.

    frame: columns model, decoder ("UperNet"; "None" or "linear"; other rows are ignored), patch [px], published, own
    [%]."""
    frame = frame.assign(decoder=frame["decoder"].fillna("linear").replace("None", "linear"))
    frame = _numbers(frame[frame["decoder"].isin(["linear", "UperNet"])])
    return _percent_figure(frame, ["model"], "decoder", "patch", "mIoU [%]", alike=False)


def figure3(frame: pd.DataFrame) -> Figure:
    """Top-1 against FLOPs, a panel per image size, a line per model with decreasing patch size; thin grey lines connect
    the models of one family at one patch size.

    frame: columns input_px [px], model, patch [px], flops [FLOPs per image], published, own [%].  Labels: p16 for
    patches of 16 px, where there is room."""
    return _percent_figure(
        _numbers(frame[frame["flops"] > 0]), ["input_px"], "model", "flops", "top-1 [%]", alike=False
    )


def figure4(frame: pd.DataFrame) -> Figure:
    """Top-1 against image size at equal tokens, a panel per model, a line per number of tokens.

    frame: columns model, input_px [px], patch [px], tokens [1], published, own [%].  Numbers of tokens that a model has
    at one image size only are ignored."""
    frame = frame.dropna(subset=list(SOURCES), how="all").sort_values("tokens", kind="stable")
    sides = frame.groupby(["model", "tokens"])["input_px"].transform("nunique")
    frame = _numbers(frame[sides > 1], "a number of tokens at two image sizes")
    return _percent_figure(frame, ["model"], "tokens", "input_px", "top-1 [%]")


def _percent_figure(
    frame: pd.DataFrame, panels: list[str], line: str, x: str, label: str, alike: bool = True
) -> Figure:
    """Figures 2 to 4: accuracies [%] over x. panels, line: the columns that identify a panel and a line; several data
    sets have separate panels and vertical axes. alike: whether panels share their vertical axis."""
    several = "data" in frame and frame["data"].nunique() > 1
    parts = dict(list(frame.groupby([*panels, "data"] if several else panels, sort=False)))
    every = _by(frame, line)
    alike = alike and not several
    figure, spots = grid(len(parts), 3, 2.5, least=2.0, sharey=alike)
    names = []
    for axes, (what, its) in zip(spots, parts.items(), strict=True):
        names.append(_draw_lines(axes, its, line, x, every))
        called, span = [name.text for name in names[-1]], its[x].max() / its[x].min()
        room = room_for(axes, called, span)
        if x == "patch":
            patch_axis(axes, its[x], room=room)
            x_label(axes, AXES["patch"].label)
        elif x == "flops":
            costliest = float(its[x].max())  # lines end at different costs: all names are placed at the largest
            names[-1] = [name._replace(x=costliest) for name in names[-1]] + _patch_labels(its, every)
            _draw_equal_patches(axes, its)
            room = math.log(room) / math.log(max(span, 2.0))
            cost_axis(axes, its[x], AXES["flops_per_image"].label, room=room)
        else:
            image_axis(axes, its[x], room=room)
        words = [f"{word:g} px" if isinstance(word, (int, float)) else str(word) for word in what]
        if not several:  # else it is among the words
            words += [DATA.get(name, str(name)) for name in its.get("data", pd.Series(dtype=str)).unique()[:1]]
        panel_title(axes, ", ".join(words))
        y_label(axes, label if not alike or axes is spots[0] else "")
        axes.margins(y=0.12)
        open_frame(axes)
    dotted = handle("one patch size, models of one family; p16: patches of 16 px", ls=":", linewidth=1)
    _key(figure, frame, [dotted] if x == "flops" else [])
    _label(spots, names)
    return figure


def _numbers(frame: pd.DataFrame, what: str = "a number, published or own") -> pd.DataFrame:
    """The rows with a number. Raises ValueError where there is none."""
    found = frame.dropna(subset=list(SOURCES), how="all")
    if found.empty:
        raise ValueError(f"there is nothing to draw: no row has {what}")
    return found


def _panels(frame: pd.DataFrame) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """Figure 1's panels with their titles and patch axes, and their rows."""
    panels = _by(_numbers(frame).sort_values("panel", kind="stable"), "panel")
    figure, spots = grid(len(panels), 3, 1.9 if len(panels) > 2 else 2.6, least=1.6)
    for axes, (panel, its) in zip(spots, panels.items(), strict=True):
        its_paper = its.dropna(subset=["published"])
        head = (its_paper if len(its_paper) else its).iloc[0]
        input_px = head["input"] if "input" in its else head["input_px"]
        where = head["input" if "input" in its else "data"] if "input" in its or "data" in its else f"{input_px} px"
        named = isinstance(head["model"], str) and head["model"] != ""
        name = f"{head['model']} {input_px} px" if named else f"{head['task']} {where}"
        panel_title(axes, f"{panel}  {name}")
        patch_axis(axes, its["patch"])
    return figure, list(zip(spots, panels.values(), strict=True))


def _by(frame: pd.DataFrame, column: str) -> dict[Hashable, pd.DataFrame]:
    """The rows by the values of a column, in order of appearance."""
    return {value: frame[frame[column] == value] for value in frame[column].unique()}


def _draw_lines(axes: Axes, its: pd.DataFrame, by: str, x: str, every: Iterable[Hashable]) -> list[Label]:
    """A panel's lines over x, published ones hollow and dashed, own ones filled. Returns the labels of their last
    points. by: the column that identifies a line.  every: all of its values in the figure, for the same colour and
    marker in all panels."""
    looks, names = styles(every), []
    for name, rows in _by(its, by).items():
        colour, marker = looks[name]
        called = f"{name:,} tokens" if by == "tokens" else str(name)
        published = rows.dropna(subset=["published"]).drop_duplicates(x)
        lines = [(called, "published", published)] if len(published) else []
        for words, points in own_series(rows):
            lines.append((", ".join([called, *["own"] * bool(lines), *words]), "own", points))
        for label, source, points in lines:
            points = points.sort_values(x, ascending=x != "patch")
            dash, face = (DASHES["shifted"], "white") if source == "published" else ("-", colour)
            axes.plot(points[x], points[source], color=colour, marker=marker, mfc=face, mew=1.4, ms=6, ls=dash, lw=1.4)
            names.append(Label(points[x].iloc[-1], points[source].iloc[-1], label, colour, needed=True))
    return names


def _draw_equal_patches(axes: Axes, its: pd.DataFrame) -> None:
    """A thin line through the models of each family at each patch size, for published and own numbers."""
    for source in SOURCES:
        for points in _of_one_patch(its, source):
            axes.plot(points["flops"], points[source], color="0.6", ls=":", linewidth=1, zorder=1.5)


def _of_one_patch(its: pd.DataFrame, source: str) -> list[pd.DataFrame]:
    """The rows of a source by family and patch, models growing."""
    rows = its.dropna(subset=[source]).drop_duplicates(["model", "patch", source]).sort_values("flops")
    family = rows["model"].astype(str).str.split("[-_ ]").str[0].str.lower()
    return [points for _, points in rows.groupby([family, "patch"], sort=False)]


def _patch_labels(its: pd.DataFrame, every: Iterable[Hashable]) -> list[Label]:
    """Labels "p16", one per family and patch size, next to the smallest model."""
    looks = styles(every)
    labels = []
    for source in SOURCES:
        for points in _of_one_patch(its, source):
            row = points.iloc[0]
            labels.append(Label(row["flops"], row[source], f"p{row['patch']:g}", looks[row["model"]][0], needed=True))
    return labels


def _label(spots: Iterable[Axes], labels: Iterable[Sequence[Label]]) -> None:
    """Names to the right of lines that end together, and the other labels where there is room. Call it last: each panel
    affects the layout of the others."""
    for axes, its in zip(spots, labels, strict=True):
        across = [float(axes.transData.transform((label.x, label.y))[0]) for label in its]
        ends = [label for label, x in zip(its, across, strict=True) if label.needed and x > max(across) - 1]
        ends = ends if len(ends) > 1 else []
        label_ends(axes, ends)
        label_points(axes, [label for label in its if label not in ends], first=(1, 0))


def _band_key(name: str) -> Line2D:
    return handle(name, alpha=0.18, linewidth=8)


def _key(figure: Figure, frame: pd.DataFrame, more: Sequence[Line2D] = ()) -> None:
    """The legend: published and own marks, and further entries."""
    handles = []
    for source, name, face in (("published", "hollow: published", "white"), ("own", "filled: own runs", INK)):
        if frame[source].notna().any():
            handles.append(handle(name, ls="", marker="o", mfc=face, mew=1.4, ms=6))
    key(figure, [*handles, *more])
