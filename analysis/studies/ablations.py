"""Studies: what the runs of one of the paper's ablations came to, as a table, a CSV and a figure. Without torch.

figure2   the vanishing decoder: what UperNet gains over a linear head at each patch size (upernet_gain.py)
table5    the longer sequence or the pixels in it: test loss against tokens, by scaling and by extending
figure3   grow the model or shrink the patch: test loss against FLOPs, a line a model size
figure4   a larger image at as many tokens: test loss against the image's side
The recipes are experiments/studies.py; a study's name may have its data set before it: shapes.table5.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.paper.comparison import published
from analysis.plots.studies import gap_figure, study_figure
from analysis.plots.style import picture
from analysis.records.run_set import finished
from analysis.report.output import counted, print_wrapped, write_files
from analysis.report.sweep_table import render_table, short
from analysis.studies.upernet_gain import gaps, metric_of, print_gaps
from scaling.runs.record import HEADLINES

KINDS = {  # kind: what the figure asks, column of the horizontal axis, its label, its base (0: no ticks at the values)
    "table5": ("Longer sequences, with and without new pixels", "tokens", "tokens, log scale", 2),
    "figure3": (
        "Grow the model or shrink the patch?",
        "flops_per_image",
        "FLOPs of an image, log scale; p16: 16 px patches",
        0,
    ),
    "figure4": ("Larger images at as many tokens", "image", "side of the image [px], log scale", 2),
}
SHOWN = ["run_id", "backbone", "data", "image", "patch", "extend", "head", "seed"]
MEASURED = ["tokens", "parameters", "flops_per_image", "test_loss"]


def report(frame: pd.DataFrame, name: str, run_ids: Sequence[str], out: Path) -> list[Path]:
    """Print a study's table and write it and its figure to out. Returns the paths that it wrote and printed.

    frame: as analysis.records.run_set.load gives it.  run_ids: the study's runs, of chains the last stages.  Raises
    ConfigError where out cannot be written. Where none of the runs has finished it says so, and writes nothing."""
    _print_left_out(frame, name, run_ids)
    table = study_table(frame, run_ids)
    if table.empty:
        print(f"{name}: none of {counted(len(run_ids), 'run')} has finished")
        return []
    sizes = "; size: image/patch" if table["image"].nunique() > 1 else ""
    title, stem = f"{name}   ({_where(table)}{sizes})", name.replace(".", "_")
    files = {f"{stem}.csv": table.to_csv(index=False).encode()}
    if _kind(name) == "figure2":
        found = gaps(table, run_ids)
        print_gaps(found, table, title)
        files[f"{stem}_gaps.csv"] = found.to_csv(index=False).encode()
        of = f"{found['backbone'].iloc[0]}, " if found["backbone"].nunique() == 1 else ""
        drawn = gap_figure(table, found, *metric_of(table), f"Does a decoder still help? ({of}{_where(table)})")
    else:
        render_table(printed(table), title)
        drawn = figure(table, name)
    if _kind(name) == "figure3":
        render_table(spending(table), "Where to spend more FLOPs: on a larger model, or on finer patches?")
    paths = write_files(out, {**files, f"{stem}.png": picture(drawn, "png")})
    for path in paths:
        print(f"wrote {path}")
    return paths


def study_table(frame: pd.DataFrame, run_ids: Sequence[str]) -> pd.DataFrame:
    """A row for every run that finished: run_id, backbone, data, image, patch, extend [px], head, seed, tokens,
    parameters, flops_per_image [FLOPs], test_loss [nats]; the headline metric of its task and what the paper prints
    (nan where it prints none), as top1, paper_top1 [%].

    Backbones as run_ids has them; then by tokens, image, what was extended, head and seed."""
    done = finished(frame)
    runs = done[done["run_id"].isin(run_ids)]
    order = {run_id: number for number, run_id in enumerate(run_ids)}
    first = runs["run_id"].map(order).groupby(runs["backbone"]).transform("min")
    keys = ["_first", "tokens", "image", "extend", "head", "seed"]
    runs = runs.assign(_first=first).sort_values(keys, ignore_index=True)
    metrics = [HEADLINES[task][0] for task in runs["task"].unique()]
    table = runs[SHOWN + MEASURED + metrics].copy()
    for metric in metrics:
        its = runs["task"].map(lambda task, metric=metric: HEADLINES[task][0] == metric)
        table[f"paper_{metric}"] = runs[its].apply(published, axis=1)
    return table


def printed(table: pd.DataFrame) -> pd.DataFrame:
    """study_table's rows as text for 80 columns: what is the same in all of them is left to the title."""
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


def spending(table: pd.DataFrame) -> pd.DataFrame:
    """figure3's question, run by run, as text: FLOPs and loss of the next larger model at the same patch, and of the
    same model at the next finer patch. Means over seeds; a row where both have finished."""
    means = table.groupby(["backbone", "patch"], as_index=False)[["flops_per_image", "test_loss"]].mean()
    at = means.set_index(["backbone", "patch"])
    rows = []
    for backbones in _families(table).values():
        for small, large in pairwise(backbones):
            patches = sorted(means.loc[means["backbone"] == small, "patch"], reverse=True)
            for patch, half in pairwise(patches):
                if (large, patch) not in at.index:
                    continue
                here, larger, finer = at.loc[(small, patch)], at.loc[(large, patch)], at.loc[(small, half)]
                gain = round(float(larger["test_loss"] - finer["test_loss"]), 3)
                rows.append(
                    {
                        "from": f"{small} p{patch}",
                        "larger [FLOPs]": f"x {larger['flops_per_image'] / here['flops_per_image']:.1f}",
                        "larger [nats]": f"{larger['test_loss']:.3f}",
                        "finer [FLOPs]": f"x {finer['flops_per_image'] / here['flops_per_image']:.1f}",
                        "finer [nats]": f"{finer['test_loss']:.3f}",
                        "better [nats]": f"{'finer' if gain > 0 else 'larger'} by {abs(gain):.3f}" if gain else "even",
                    }
                )
    return pd.DataFrame(rows)


def figure(table: pd.DataFrame, name: str) -> Any:  # a matplotlib Figure
    """A study's figure. table: of study_table."""
    title, column, label, base = KINDS[_kind(name)]
    points = table.assign(x=table[column], panel="", colour=table["backbone"], dash="", note="")
    if _kind(name) == "table5":
        points = _both_ways(points)
    elif _kind(name) == "figure4":
        points["dash"] = table["tokens"].map("{:,} tokens".format)
    else:
        points["panel"] = table["backbone"].str.split("_").str[0]
        points["note"] = table["patch"].map("p{}".format)
    return study_figure(points, label, f"{title} ({_where(table)})", base)


def _both_ways(points: pd.DataFrame) -> pd.DataFrame:
    """table5's runs as lines: both begin at the patch that is extended from, where they are one run."""
    points["dash"] = np.where(points["extend"] > 0, "by extending", "by scaling")
    extended = points[points["extend"] > 0]
    base = extended[["backbone", "image", "extend"]].drop_duplicates().rename(columns={"extend": "patch"})
    begin = points[points["extend"] == 0].merge(base, on=["backbone", "image", "patch"])
    return pd.concat([points, begin.assign(dash="by extending")], ignore_index=True)


def _families(table: pd.DataFrame) -> dict[str, list[str]]:
    """Each family's backbones from small to large, by their parameters at the coarsest patch."""
    sizes = table.groupby("backbone")["parameters"].max().sort_values()
    families: dict[str, list[str]] = {}
    for backbone in sizes.index:
        families.setdefault(str(backbone).split("_")[0], []).append(str(backbone))
    return families


def _kind(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _where(table: pd.DataFrame) -> str:
    """The data, and the image size where it is one."""
    images = table["image"].unique()
    return ", ".join(table["data"].unique()) + (f", {images[0]} px" if len(images) == 1 else "")


def _print_left_out(frame: pd.DataFrame, name: str, run_ids: Sequence[str]) -> None:
    """Say which of the study's runs are not in what follows, and why."""
    failed = frame[frame["status"] == "failed"].set_index("run_id")["failure"]
    corrupt = frame.attrs.get("corrupt", {})
    done = set(finished(frame)["run_id"])
    for run_id in run_ids:
        if run_id in failed.index:
            print_wrapped(f"{name}: left out, failed: {run_id} ({failed[run_id]})")
        elif run_id in corrupt:
            print_wrapped(f"{name}: left out, corrupt: {corrupt[run_id]}")
        elif run_id not in done:
            print_wrapped(f"{name}: left out, not finished: {run_id}")


def _percent(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.1f}"
