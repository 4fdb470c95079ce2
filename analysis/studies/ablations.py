"""Ablations: the results of a study as a table, a CSV file and a figure. Without torch.

figure2   gain of UperNet over a linear head at each patch size (upernet_gain.py)
table5    longer sequences with or without new pixels: test loss against tokens, by scaling and by extending
figure3   larger model or smaller patch: test loss against FLOPs, a line per model size
figure4   larger images at equal numbers of tokens: test loss against image size
learning_rate   best learning rate of every patch size (learning_rates.py)
patch_schedule   order of the patch sizes of a run, at equal FLOPs and at equal seconds (patch_order.py)
embeddings, embed_init   patch embeddings and their initial weights, at equal images and FLOPs (embeddings.py)
flexivit  one flexible model, a model per patch size, and these at other patch sizes (flexivit.py)
token_drop   training on a part of each image's tokens, on equal images and at equal FLOPs (token_drop.py)
navit     mixed sizes of training images against one size (mixed_sizes.py)
The first four are the paper's. The recipes are in experiments/studies.py; a study's name may have its data set as
prefix: shapes.table5.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.fitting.axes import AXES
from analysis.plots.embeddings import embedding_figure
from analysis.plots.flexivit import flexivit_figure
from analysis.plots.mixed_sizes import mixed_sizes_figure
from analysis.plots.patch_order import order_figure
from analysis.plots.rates import rate_figure
from analysis.plots.studies import Figure, gap_figure, study_figure
from analysis.plots.style import picture
from analysis.plots.token_drop import drop_figure
from analysis.records.run_set import RunSet
from analysis.report.output import counted, print_wrapped, write_files
from analysis.report.sweep_table import render_table, short
from analysis.studies import embeddings, flexivit, learning_rates, mixed_sizes, patch_order, token_drop
from analysis.studies.best_rate import FEWEST
from analysis.studies.explained import equal_flops, explained
from analysis.studies.larger_or_finer import spending
from analysis.studies.learning_rates import rate_studies
from analysis.studies.study_table import StudyRun, study_table
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


def report(runs: RunSet, name: str, planned: Sequence[StudyRun], out: Path) -> list[Path]:
    """Print a study's table and write it and its figure to out. Returns the paths that it wrote.

    planned: the study's runs, of multi-stage training the last stages.  Raises ConfigError where out cannot be written.
    Writes nothing where none of the runs has finished."""
    _print_left_out(runs, name, planned)
    table = study_table(runs.frame, planned)
    if table.empty:
        print(f"{name}: none of {counted(len(planned), 'run')} has finished")
        return []
    sizes = "; size: image/patch" if table["image"].nunique() > 1 else ""
    if _kind(name) == "learning_rate":
        return _report_rates(runs, name, table, out)
    if _kind(name) == "patch_schedule":
        return _report_orders(runs, name, planned, _where(table), out)
    if _kind(name) in ("embeddings", "embed_init"):
        return _report_embeddings(runs, name, planned, _where(table), out)
    if _kind(name) == "flexivit":
        return _report_flexivit(runs, name, planned, _where(table), out)
    if _kind(name) == "token_drop":
        return _report_drops(runs, name, planned, table, out)
    if _kind(name) == "navit":
        return _report_sizes(runs, name, planned, _where(table), out)
    title, stem = f"{name}   ({_where(table)}{sizes})", name.replace(".", "_")
    tables = {"": table}
    if _kind(name) == "figure2":
        found = gaps(table, planned)
        print_gaps(found, table, title)
        tables["_gaps"] = found
        of = f"{found['backbone'].iloc[0]}, " if found["backbone"].nunique() == 1 else ""
        drawn = gap_figure(table, found, *metric_of(table), f"Does a decoder still help? ({of}{_where(table)})")
    else:
        render_table(printed(table), title)
        drawn = figure(table, name)
    if _kind(name) == "figure3":
        render_table(spending(table), "More FLOPs for a larger model or for smaller patches?")
        if len(pairs := equal_flops(table)):
            render_table(pairs, "Change of the loss by a finer patch at equal FLOPs")
    if _kind(name) == "table5" and len(parts := explained(table)):
        render_table(parts, "Change of the loss explained by tokens and FLOPs, and by information")
    return _write(out, stem, tables, drawn)


def _write(out: Path, stem: str, tables: dict[str, pd.DataFrame], drawn: Figure) -> list[Path]:
    """Write a study's tables, by what follows the stem of their names, and its figure. Prints and returns the paths."""
    files = {f"{stem}{end}.csv": table.to_csv(index=False).encode() for end, table in tables.items()}
    paths = write_files(out, {**files, f"{stem}.png": picture(drawn, "png")})
    for path in paths:
        print(f"wrote {path}")
    return paths


def _report_rates(runs: RunSet, name: str, table: pd.DataFrame, out: Path) -> list[Path]:
    """The report of a study of learning rates. table: of study_table."""
    columns = ["run_id", "lr", *(["val_loss"] if "val_loss" in runs.frame else [])]
    trained = table.merge(runs.frame[columns], on="run_id")
    studies = rate_studies(trained) if "val_loss" in trained else []
    if not studies:
        print_wrapped(f"{name}: no patch size has {FEWEST} learning rates with a loss on held-out images (--val-split)")
        return []
    title, stem = f"{name}   ({_where(table)})", name.replace(".", "_")
    render_table(learning_rates.printed(studies), title)
    for sentence in learning_rates.sentences(studies):
        print_wrapped(sentence, indent=2)
    whole = pd.concat([study.table for study in studies], ignore_index=True)
    drawn = rate_figure(trained, whole, f"Best learning rate by patch size ({_where(table)})")
    return _write(out, stem, {"": whole}, drawn)


def _report_orders(runs: RunSet, name: str, planned: Sequence[StudyRun], where: str, out: Path) -> list[Path]:
    """The report of a study of the order of patch sizes. where: data and image size."""
    curves = patch_order.order_curves(runs.frame, planned)
    if curves.empty:
        print_wrapped(f"{name}: no run has a curve")
        return []
    found, stem = patch_order.comparisons(curves), name.replace(".", "_")
    for backbone, its in curves.groupby("backbone", sort=False):
        render_table(patch_order.printed(its), f"{name}   ({backbone}, {where}; at the smallest patch)")
        if len(against := found[found["backbone"] == backbone]):
            render_table(patch_order.compared(against))
    for sentence in patch_order.sentences(found):
        print_wrapped(sentence, indent=2)
    drawn = order_figure(curves, f"Order of patch sizes: test loss at the smallest ({where})")
    return _write(out, stem, {"": curves, "_compared": found}, drawn)


def _report_embeddings(runs: RunSet, name: str, planned: Sequence[StudyRun], where: str, out: Path) -> list[Path]:
    """The report of a study of patch embeddings or of their initial weights. where: data and image size."""
    table = embeddings.embedding_table(runs.frame, planned)
    found, by_slope, stem = embeddings.comparisons(table), embeddings.slopes(table), name.replace(".", "_")
    for backbone, its in table.groupby("backbone", sort=False):
        title = f"{backbone}, {where}"
        render_table(embeddings.printed_costs(its), f"{title}: cost")
        render_table(embeddings.printed_losses(its), f"{title}: test loss")
        if len(alphas := by_slope[by_slope["backbone"] == backbone]):
            render_table(embeddings.printed_slopes(alphas), f"{title}: exponent")
    for sentence in embeddings.sentences(found, by_slope):
        print_wrapped(sentence, indent=2)
    drawn = embedding_figure(table, f"Patch embeddings: laws and cost ({where})")
    return _write(out, stem, {"": table, "_compared": found, "_alpha": by_slope}, drawn)


def _report_flexivit(runs: RunSet, name: str, planned: Sequence[StudyRun], where: str, out: Path) -> list[Path]:
    """The report of a study of flexible and fixed models. where: data and image size."""
    found = flexivit.losses(runs, planned)
    compared, stem = flexivit.compared(found), name.replace(".", "_")
    for backbone, its in found.groupby("backbone", sort=False):
        title = f"{name}   ({backbone}, {where})"
        if len(compared):
            render_table(flexivit.printed_comparison(compared[compared["backbone"] == backbone]), title)
        render_table(flexivit.printed_elsewhere(its), f"{title}, at all patch sizes")
    for sentence in flexivit.sentences(found):
        print_wrapped(sentence, indent=2)
    drawn = flexivit_figure(*flexivit.drawn(found), f"Flexible and fixed models at all patch sizes ({where})")
    return _write(out, stem, {"": found, "_compared": compared}, drawn)


def _report_drops(runs: RunSet, name: str, planned: Sequence[StudyRun], table: pd.DataFrame, out: Path) -> list[Path]:
    """The report of a study of dropped tokens. table: of study_table."""
    found, along = token_drop.drop_runs(runs.frame, planned)
    if found.empty:
        print_wrapped(f"{name}: no run has a curve")
        return []
    compared, stem = token_drop.comparisons(found), name.replace(".", "_")
    for (backbone, sizes), its in found.groupby(["backbone", "sizes"], sort=False):
        render_table(token_drop.printed(its), f"{name}   ({backbone}, {_where(table)}, trained at {sizes} px)")
        against = compared[(compared["backbone"] == backbone) & (compared["sizes"] == sizes)]
        if len(against):
            render_table(token_drop.compared(against))
    drawn = drop_figure(found, along, f"Training on a part of the tokens ({_where(table)})")
    return _write(out, stem, {"": found, "_along": along, "_compared": compared}, drawn)


def _report_sizes(runs: RunSet, name: str, planned: Sequence[StudyRun], where: str, out: Path) -> list[Path]:
    """The report of a study of mixed image sizes. where: data and image size."""
    found = mixed_sizes.losses(runs, planned)
    compared, stem = mixed_sizes.comparisons(found), name.replace(".", "_")
    for backbone, its in found.groupby("backbone", sort=False):
        render_table(mixed_sizes.printed(its), f"{name}   ({backbone}, {where}; test loss by size of test images)")
        if len(against := compared[compared["backbone"] == backbone]):
            render_table(mixed_sizes.compared(against))
    drawn = mixed_sizes_figure(found, f"Mixed and fixed sizes of training images ({where})")
    return _write(out, stem, {"": found, "_compared": compared}, drawn)


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


def figure(table: pd.DataFrame, name: str) -> Figure:
    """A study's figure. table: of study_table."""
    axis = KINDS[_kind(name)]
    points = table.assign(x=table[axis.column], panel="", colour=table["backbone"], dash="", note="")
    if _kind(name) == "table5":
        points = _both_ways(points)
    elif _kind(name) == "figure4":
        points["dash"] = table["tokens"].map("{:,} tokens".format)
    else:
        points["panel"] = table["backbone"].str.split("_").str[0]
        points["note"] = table["patch"].map("p{}".format)
    return study_figure(points, axis.label, f"{axis.title} ({_where(table)})", axis.base)


def _both_ways(points: pd.DataFrame) -> pd.DataFrame:
    """table5's runs as two lines that share the run at the patch that is extended from."""
    points["dash"] = np.where(points["extend"] > 0, "by extending", "by scaling")
    extended = points[points["extend"] > 0]
    base = extended[["backbone", "image", "extend"]].drop_duplicates().rename(columns={"extend": "patch"})
    begin = points[points["extend"] == 0].merge(base, on=["backbone", "image", "patch"])
    return pd.concat([points, begin.assign(dash="by extending")], ignore_index=True)


def _kind(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _where(table: pd.DataFrame) -> str:
    """The data sets, and the image size where there is only one."""
    images = table["image"].unique()
    return ", ".join(table["data"].unique()) + (f", {images[0]} px" if len(images) == 1 else "")


def _print_left_out(runs: RunSet, name: str, planned: Sequence[StudyRun]) -> None:
    """Print which of the study's runs are excluded, and why."""
    frame = runs.frame
    failed = frame[frame["status"] == "failed"].set_index("run_id")["failure"]
    corrupt = {one.folder: one.reason for one in runs.corrupt}
    done = set(runs.finished["run_id"])
    for run_id in (run.run_id for run in planned):
        if run_id in failed.index:
            print_wrapped(f"{name}: excluded, failed: {run_id} ({failed[run_id]})")
        elif run_id in corrupt:
            print_wrapped(f"{name}: excluded, corrupt: {corrupt[run_id]}")
        elif run_id not in done:
            print_wrapped(f"{name}: excluded, not finished: {run_id}")


def _percent(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.1f}"
