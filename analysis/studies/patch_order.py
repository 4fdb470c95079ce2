"""Order of patch sizes: whether training on large patches first helps the smallest one, by FLOPs and by seconds.

Runs of the smallest patch size alone, at several lengths, give its loss as a power of the cost, in FLOPs, seconds or
images, for each seed. The other runs are compared with that law at their own cost, with the FLOPs of the sizes that
their steps drew: so a draw of many small patches is not taken for an effect of the order. Differences are of log loss,
paired over seeds, with Holm's correction for the comparisons of a backbone.
"""

import math
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.records.curve_points import read_curve
from analysis.records.drawn_patches import patches_text
from analysis.records.patch_tests import log_difference, with_verdicts
from analysis.records.run_frame import headlines
from analysis.report.sweep_table import short
from analysis.studies.cell_text import change_text, spread
from analysis.studies.study_table import StudyRun, study_table
from scaling.config.experiment import ExperimentConfig
from scaling.config.step_shapes import PatchSchedule
from scaling.costs.run_flops import cumulated_flops, seen_images
from scaling.runs.record import CURVE, HEADLINES, RunRecord

COSTS = {"flops": "equal FLOPs", "seconds": "equal seconds"}  # columns of order_curves, and comparisons by them
IMAGES = {"images": "equal images"}
ALONE = " px alone"  # of the name of a run of one patch size
CURVES = ["backbone", "order", "seed", "images", "step", "share", "flops", "seconds", "test_loss", "top1"]
COMPARED = ["backbone", "order", "cost", "change", "low", "high", "p", "p_holm", "verdict"]


def order_curves(frame: pd.DataFrame, planned: Sequence[StudyRun]) -> pd.DataFrame:
    """A row per test loss along every planned run that finished, in the order of planned: CURVES, that is images of the
    whole run, step, its share of the steps (1: the end), flops of training until then, seconds until then, with test
    losses and without set-up, test_loss [nats], and at the end top1, or the first metric of another task [%]. Losses
    are at the patch size that most runs have as their smallest; of a run with a smaller one at the end alone.

    frame: of a RunSet.  Raises ConfigError for a damaged curve."""
    table = study_table(frame, planned).merge(frame[["run_id", "folder"]], on="run_id").set_index("run_id")
    smallest = pd.Series([run.patch for run in planned]).mode().max()
    parts = [_curve(table.loc[run.run_id], int(smallest)) for run in planned if run.run_id in table.index]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=CURVES)


def _curve(run: pd.Series, patch: int) -> pd.DataFrame:
    record, curve = RunRecord.load(Path(run["folder"])), read_curve(Path(run["folder"]) / CURVE)
    evaluated = [row for row in record.evaluations if row["patch_size"] == patch]
    if curve.empty or not evaluated:
        return pd.DataFrame(columns=CURVES)
    config, at_end = record.experiment(), evaluated[0]  # the reported weights come first
    steps, ends = int(curve["step"].max()), curve["step"] == curve["step"].max()
    end = {"step": steps, "seconds": curve.loc[ends, "seconds"].min(), "test_loss": at_end["test_loss"]}
    along = curve[~ends & (curve["test_loss"] > 0) & (config.model.patch_size == patch)]
    rows = pd.concat([along, pd.DataFrame([end])], ignore_index=True)
    metric, _ = HEADLINES[config.task.kind]
    reached = at_end["metrics"].get(metric, math.nan)
    rows["share"], rows[metric] = rows["step"] / steps, np.where(rows["step"] == steps, reached, math.nan)
    rows["flops"] = cumulated_flops(config, steps)[rows["step"].to_numpy(int)]
    its = {"backbone": run["backbone"], "order": order_of(config), "seed": run["seed"]}
    return rows.assign(**its, images=seen_images(config, steps))[[*CURVES[:-1], metric]]


def order_of(config: ExperimentConfig) -> str:
    """The name of the order that a run has its sizes in."""
    shapes = config.step_shapes
    text = shapes.text if isinstance(shapes, PatchSchedule) else patches_text(config)
    return text or f"{config.model.patch_size}{ALONE}"


def images_of(config: ExperimentConfig) -> int:
    """Training images that the whole run sees, each as often as it is seen; 0: their number is unknown."""
    of_epoch = (config.data.num_train or 0) // config.optim.global_batch_size
    return seen_images(config, config.schedule.max_steps or of_epoch * config.schedule.epochs)


def comparisons(curves: pd.DataFrame, costs: Collection[str] = tuple(COSTS)) -> pd.DataFrame:
    """COMPARED, a row per backbone, order and cost: change, low, high, of the loss relative to the smallest patch size
    alone at the same cost, with its 95 % interval [1]; p, p_holm; verdict: better, worse, undecided or untested.

    curves: of order_curves; costs: columns of it. Without two lengths of the smallest patch size alone in two seeds
    there are no rows."""
    rows = []
    for backbone, its in curves[curves["share"] == 1].groupby("backbone", sort=False):
        alone = its["order"].str.endswith(ALONE)
        for cost in costs:
            for order, runs in its[~alone].groupby("order", sort=False):
                ours = np.log(runs.set_index("seed")["test_loss"])
                theirs = _alone_at(its[alone], runs.set_index("seed")[cost], cost)
                if len(theirs) > 1:
                    found = log_difference(theirs, ours)
                    ends = [math.expm1(value) for value in (found.mean, found.low, found.high)]
                    rows.append([backbone, order, cost, *ends, found.p, math.nan, ""])
    return with_verdicts(pd.DataFrame(rows, columns=COMPARED), "backbone")


def _alone_at(alone: pd.DataFrame, costs: pd.Series, cost: str) -> pd.Series:
    """Log loss of the smallest patch size alone at these costs, by seed: on the line through the logarithms of all its
    runs of the seed, by least squares. Seeds without two runs are left out."""
    found = {}
    for seed, at in costs.items():
        runs = alone[alone["seed"] == seed]
        if len(runs) > 1:
            slope, level = np.polyfit(np.log(runs[cost].to_numpy(float)), np.log(runs["test_loss"].to_numpy(float)), 1)
            found[seed] = level + slope * math.log(at)
    return pd.Series(found, dtype=float)


def printed(curves: pd.DataFrame) -> pd.DataFrame:
    """The ends of one backbone's runs as text, a row per order and length: mean and standard deviation over seeds."""
    ends = curves[curves["share"] == 1]
    rows = []
    for (order, images), its in ends.groupby(["order", "images"], sort=False):
        rows.append(
            {
                "schedule": order,
                "images": f"{images:,}",
                "FLOPs": short(its["flops"].mean()),
                "time [s]": spread(its["seconds"], 0),
                "loss [nats]": spread(its["test_loss"], 3),
                **{f"{name} [%]": spread(its[metric], 1) for metric, name in headlines(ends).items()},
            }
        )
    return pd.DataFrame(rows)


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """One backbone's comparisons as text: a row per order, with the change of the loss [%] and its 95 % interval."""
    rows = []
    for order, its in table.groupby("order", sort=False):
        cells = {}
        for one in its.itertuples():
            text = change_text((one.change, one.low, one.high), one.verdict)
            cells[f"{(COSTS | IMAGES)[str(one.cost)]} [%]"] = f"{text} {one.verdict}"
        rows.append({"loss against the smallest alone": order, **cells})
    return pd.DataFrame(rows)


def sentences(table: pd.DataFrame) -> list[str]:
    """The verdicts of comparisons, a sentence per backbone and cost."""
    found = []
    for (backbone, cost), its in table.groupby(["backbone", "cost"], sort=False):
        verdicts = ", ".join(
            f"{order} is {verdict}" for order, verdict in zip(its["order"], its["verdict"], strict=True)
        )
        found.append(f"{backbone}, at {(COSTS | IMAGES)[str(cost)]} as the smallest patch size alone: {verdicts}.")
    return found
