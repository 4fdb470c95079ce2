"""Dropped tokens: whether training on a part of each image's tokens helps, on equally many images and at equal FLOPs.

Every way of dropping is compared with the runs without it on images of the same sizes. Differences are of log loss on
whole test images, paired over seeds, with Holm's correction for the comparisons of a backbone. How unstable training is
shows in `rise`: the largest increase of the training loss from one equal part of a run to the next (loss_rise.py).
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.records.curve_points import read_curve
from analysis.records.patch_tests import log_difference, with_verdicts
from analysis.report.sweep_table import short
from analysis.studies.cell_text import change_text, spread
from analysis.studies.loss_rise import by_window
from analysis.studies.study_table import StudyRun, study_table
from scaling.config.experiment import ExperimentConfig
from scaling.config.packing import SequencePacking
from scaling.costs.run_flops import cumulated_flops
from scaling.runs.record import CURVE, RunRecord

NONE, KEPT = "none", "tokens_kept"  # the kind of dropping that is none, and a metric of records
SAME = 0.02  # largest relative difference of FLOPs that are called equal
NAMES = ["backbone", "sizes", "dropped", "images", "seed"]
RUNS = [*NAMES, KEPT, "flops", "seconds", "rise", "test_loss", "top1"]
ALONG = [*NAMES, "share", "train_loss"]
COMPARED = ["backbone", "sizes", "dropped", "images", "equal", "change", "low", "high", "p", "p_holm", "verdict"]


def drop_runs(frame: pd.DataFrame, planned: Sequence[StudyRun]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """RUNS, a row per planned run that finished and has a curve, in the order of planned: sizes of the training images
    [px], dropped (how), images (seen in the run), tokens_kept [%], flops of training, its seconds, rise and test_loss
    [nats], top1 [%]. ALONG, a row per window of each: share of the run at its end, mean train_loss [nats].

    frame: of a RunSet.  Raises ConfigError for a damaged curve."""
    others = frame[["run_id", "folder", *([KEPT] if KEPT in frame else [])]]
    table = study_table(frame, planned).merge(others, on="run_id").set_index("run_id")
    runs, along = [], []
    for run in (table.loc[one.run_id] for one in planned if one.run_id in table.index):
        folder = Path(run["folder"])
        curve = read_curve(folder / CURVE)
        if not curve.empty:
            row = _row(run, RunRecord.load(folder).experiment(), curve)
            losses = by_window(curve)
            runs.append({**row, "rise": losses.diff().max()})
            along += [{**row, "share": share, "train_loss": loss} for share, loss in losses.items()]
    return pd.DataFrame(runs, columns=RUNS), pd.DataFrame(along, columns=ALONG)


def _row(run: pd.Series, config: ExperimentConfig, curve: pd.DataFrame) -> dict[str, object]:
    packing, steps = config.packing, int(curve["step"].max())
    assert isinstance(packing, SequencePacking)
    kept = run.get(KEPT, math.nan)
    return {
        **{name: run[name] for name in ("backbone", "seed", "test_loss", "top1")},
        "sizes": packing.image_sizes,
        "dropped": packing.token_drop.words,
        "images": steps * config.optim.global_batch_size,
        KEPT: 100.0 if math.isnan(kept) else kept,  # images of one size are not packed, and not counted
        "flops": cumulated_flops(config, steps)[-1],
        "seconds": curve.loc[curve["step"] == steps, "seconds"].min(),
    }


def comparisons(runs: pd.DataFrame) -> pd.DataFrame:
    """COMPARED, a row per way of dropping and number of images: equal (images or FLOPs), change, low, high, of the loss
    relative to that without dropping, with its 95 % interval [1]; p, p_holm; verdict: better, worse, undecided or
    untested. runs: of drop_runs."""
    rows = []
    for (backbone, sizes), its in runs.groupby(["backbone", "sizes"], sort=False):
        whole = its[its["dropped"] == NONE]
        for (dropped, images), ours in its[its["dropped"] != NONE].groupby(["dropped", "images"], sort=False):
            equal = "images" if (whole["images"] == images).any() else "FLOPs"
            if whole.empty or (equal == "FLOPs" and abs(ours["flops"].mean() / whole["flops"].mean() - 1) > SAME):
                continue
            found = log_difference(*(np.log(one.set_index("seed")["test_loss"]) for one in (whole, ours)))
            ends = [math.expm1(value) for value in (found.mean, found.low, found.high)]
            rows.append([backbone, sizes, dropped, images, equal, *ends, found.p, math.nan, ""])
    return with_verdicts(pd.DataFrame(rows, columns=COMPARED), "backbone")


def printed(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of one backbone and of equal sizes as text, a row per way of dropping and number of images: mean and
    standard deviation over seeds."""
    rows = []
    for (dropped, images), its in runs.groupby(["dropped", "images"], sort=False):
        rows.append(
            {
                "dropped": dropped,
                "images": f"{images:,}",
                "kept [%]": f"{its[KEPT].mean():.1f}",
                "FLOPs": short(its["flops"].mean()),
                "loss [nats]": spread(its["test_loss"], 3),
                "top-1 [%]": spread(its["top1"], 1),
                "rise [nats]": f"{its['rise'].mean():.2f}",
            }
        )
    return pd.DataFrame(rows)


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """Comparisons of one backbone and of equal sizes as text: a row per way of dropping, with the change of the loss
    [%] and its 95 % interval."""
    rows = []
    for dropped, its in table.groupby("dropped", sort=False):
        cells = {}
        for one in its.itertuples():
            text = change_text((one.change, one.low, one.high), one.verdict)
            cells[f"equal {one.equal} [%]"] = f"{text} {one.verdict}"
        rows.append({"loss against none": dropped, **cells})
    return pd.DataFrame(rows).fillna("-")
