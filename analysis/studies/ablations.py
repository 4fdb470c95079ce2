"""The paper's ablations: their tables and figures.

figure2   gain of UperNet over a linear head at each patch size (upernet_gain.py)
table5    longer sequences with or without new pixels: test loss against tokens, by scaling and by extending
figure3   larger model or smaller patch: test loss against FLOPs, a line per model size
figure4   larger images at equal numbers of tokens: test loss against image size
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.fitting.axes import AXES
from analysis.plots.studies import Figure, gap_figure, study_figure
from analysis.report.sweep_table import render_table, short
from analysis.studies.explained import equal_flops, explained
from analysis.studies.larger_or_finer import spending
from analysis.studies.study_runs import Shown, StudyRuns
from analysis.studies.upernet_gain import gaps, metric_of, print_gaps
from scaling.runs.record import HEADLINES


class StudyAxis(NamedTuple):
    """Title and horizontal axis of a study's figure."""

    title: str
    column: str
    label: str
    base: int  # of the logarithm, with ticks at the values; 0: ticks at round numbers


KINDS = {
    "table5": StudyAxis("Longer sequences, with and without new pixels", "tokens", AXES["tokens"].label, 2),
    "figure3": StudyAxis(
        "Larger model or smaller patch?", "flops_per_image", "FLOPs per image, log scale; p16: 16 px patches", 0
    ),
    "figure4": StudyAxis("Larger images at equal numbers of tokens", "image", "image size [px], log scale", 2),
}


def shown(study: StudyRuns) -> Shown:
    """table5, figure3 or figure4."""
    table = study.table
    render_table(printed(table), study.title)
    if study.kind == "figure3":
        render_table(spending(table), "More FLOPs for a larger model or for smaller patches?")
        if len(pairs := equal_flops(table)):
            render_table(pairs, "Change of the loss by a finer patch at equal FLOPs")
    if study.kind == "table5" and len(parts := explained(table)):
        render_table(parts, "Change of the loss explained by tokens and FLOPs, and by information")
    return Shown({"": table}, figure(table, study.kind, study.where))


def decoder_gain(study: StudyRuns) -> Shown:
    """figure2."""
    table, found = study.table, gaps(study.table, study.planned)
    print_gaps(found, table, study.title)
    of = f"{found['backbone'].iloc[0]}, " if found["backbone"].nunique() == 1 else ""
    drawn = gap_figure(table, found, *metric_of(table), f"Does a decoder still help? ({of}{study.where})")
    return Shown({"": table, "_gaps": found}, drawn)


def printed(table: pd.DataFrame) -> pd.DataFrame:
    """study_table's rows as text for 80 columns, without columns that the title states."""
    shown = pd.DataFrame({"backbone": table["backbone"]})
    if table["image"].nunique() > 1:
        shown["size [px]"] = table["image"].astype(str) + "/" + table["patch"].astype(str)
    else:
        shown["patch [px]"] = table["patch"]
    if table["extend"].any():
        shown["from [px]"] = table["extend"].map(lambda patch: str(patch) if patch else "-")
    if table["seed"].nunique() > 1:
        shown["seed"] = table["seed"]
    shown["tokens"] = table["tokens"]
    shown["params"] = table["parameters"].map(short)
    shown["FLOPs"] = table["flops_per_image"].map(short)
    shown["loss [nats]"] = table["test_loss"].map("{:.4f}".format)
    for metric, name in HEADLINES.values():
        if metric in table:
            shown[f"{name} [%]"] = table[metric].map(_percent)
            if table[f"paper_{metric}"].notna().any():
                shown["paper [%]"] = table[f"paper_{metric}"].map(_percent)
    return shown


def figure(table: pd.DataFrame, kind: str, where: str) -> Figure:
    """The figure of one of KINDS. table: of study_table; where: data and image size."""
    axis = KINDS[kind]
    points = table.assign(x=table[axis.column], panel="", colour=table["backbone"], dash="", note="")
    if kind == "table5":
        points = _both_ways(points)
    elif kind == "figure4":
        points["dash"] = table["tokens"].map("{:,} tokens".format)
    else:
        points["panel"] = table["backbone"].str.split("_").str[0]
        points["note"] = table["patch"].map("p{}".format)
    return study_figure(points, axis.label, f"{axis.title} ({where})", axis.base)


def _both_ways(points: pd.DataFrame) -> pd.DataFrame:
    """table5's runs as two lines that share the run at the patch that is extended from."""
    points["dash"] = np.where(points["extend"] > 0, "by extending", "by scaling")
    extended = points[points["extend"] > 0]
    base = extended[["backbone", "image", "extend"]].drop_duplicates().rename(columns={"extend": "patch"})
    begin = points[points["extend"] == 0].merge(base, on=["backbone", "image", "patch"])
    return pd.concat([points, begin.assign(dash="by extending")], ignore_index=True)


def _percent(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.1f}"
