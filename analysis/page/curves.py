"""Section of the learning curves: training and test losses of all runs against steps, images seen or FLOPs."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from analysis.page.content import Content
from analysis.page.laws import rounded
from analysis.page.section import Json, Section, part, text
from analysis.planning.pareto import training_flops
from analysis.plots.backbone_styles import COLOURS
from analysis.records.curve_points import read_curve
from analysis.report.output import counted
from scaling.errors import ConfigError
from scaling.runs.record import CURVE

MOST_RUNS = 400  # with curves in the page: of 200 rows each, 3 MB
MOST_ROWS = 200  # of a curve: of more, evenly spaced ones are drawn


def section(content: Content) -> Section:
    """The curves of runs that finished or failed. Of more than MOST_RUNS those that ended last."""
    frame = content.runs.frame
    kept = frame.sort_values("ended", ascending=False, kind="stable").head(MOST_RUNS).sort_index()
    damaged: list[str] = []
    curves = list(_curves(kept, content.recipes, damaged))
    notes = [f"Of {len(frame)} runs the {MOST_RUNS} that ended last are drawn."] if len(frame) > MOST_RUNS else []
    notes += [f"Left out: {one}." for one in damaged]
    said = "".join(f"<p>{text(note)}</p>" for note in notes)
    title = "Learning curves"
    if not curves:
        return Section("curves", title, f"<p>No run in this folder has a curve.</p>{said}")
    recipes = list(dict.fromkeys(curve["recipe"] for curve in curves))
    data: Json = {"recipes": recipes, "runs": curves, "colours": COLOURS}
    lead = f"{counted(len(curves), 'run')}, coloured by patch size. A recipe has its runs of all patch sizes and seeds."
    return Section("curves", title, f"<p>{lead}</p>{said}{part('curves.html')}", part("curves.js"), data)


def _curves(frame: pd.DataFrame, names: Mapping[str, str], damaged: list[str]) -> Iterator[dict[str, Json]]:
    """The curves of the runs of a frame that have one; why a curve cannot be read is added to damaged. names: of the
    groups."""
    flops = training_flops(frame)
    for place, run in enumerate(frame.to_dict("records")):
        try:
            curve = read_curve(Path(str(run["folder"])) / CURVE)
        except ConfigError as e:
            damaged.append(str(e).replace(f"{Path(str(run['folder'])).parent}/", ""))
            continue
        if curve.empty or "train_loss" not in curve:
            continue
        last = float(curve["step"].max())
        train = _thinned(curve[curve["train_loss"].notna()])
        test = curve[curve["test_loss"].notna()] if "test_loss" in curve else curve[:0]
        before = test[test["step"] < last]
        final = [] if math.isnan(run["test_loss"]) else [(last, run["test_loss"])]
        yield {
            "run": run["run_id"],
            "recipe": names[run["group"]],
            "patch": int(run["patch"]),
            "seed": int(run["seed"]),
            "status": run["status"],
            "images": int(run["batch"]),  # per step
            "flops": float(flops.iloc[place]) / last if run["status"] == "finished" else math.nan,  # per step
            "train": [rounded(train["step"]), rounded(train["train_loss"])],
            "test": [
                rounded([*before["step"], *(step for step, _ in final)]),
                rounded([*before["test_loss"], *(loss for _, loss in final)]),
            ],
        }


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """At most MOST_ROWS rows and the last one."""
    stride = -(-len(curve) // MOST_ROWS)
    return pd.concat([curve[:-1:stride], curve[-1:]])
