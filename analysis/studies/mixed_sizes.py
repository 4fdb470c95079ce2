"""Mixed image sizes: whether training on images of several sizes helps, at every size that models are evaluated at.

Every way of training is compared with images of the full size alone, at the same size in evaluation. Differences are of
log loss, paired over seeds, with Holm's correction for the comparisons of a backbone.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.records.patch_tests import log_difference, with_verdicts
from analysis.records.run_set import RunSet
from analysis.report.sweep_table import short
from analysis.studies.cell_text import change_text, spread
from analysis.studies.study_table import StudyRun
from scaling.config.experiment import ExperimentConfig
from scaling.config.packing import SequencePacking, parse_sizes
from scaling.costs.run_flops import recipe_training_flops
from scaling.runs.record import RunRecord

LOSSES = ["backbone", "trained", "images", "flops", "seed", "size", "test_loss", "top1"]
COMPARED = ["backbone", "trained", "images", "size", "change", "low", "high", "p", "p_holm", "verdict"]


def losses(runs: RunSet, planned: Sequence[StudyRun], way: Callable[[ExperimentConfig], str]) -> pd.DataFrame:
    """LOSSES, a row per planned run that finished and size that it was evaluated at, in the order of planned: trained
    (of way: what differs between the runs), images (seen in the run), flops of training, size [px], test_loss [nats],
    top1 [%]."""
    done = runs.finished.set_index("run_id")
    first = runs.evaluations.drop_duplicates(["run_id", "img_size"])  # the reported weights come first
    rows = []
    for run in planned:
        if run.run_id in done.index:
            config = RunRecord.load(Path(str(done.loc[run.run_id, "folder"]))).experiment()
            images = (config.data.num_train or 0) * config.schedule.epochs
            flops = recipe_training_flops(config, config.data.num_train or 0)
            for its in first[first["run_id"] == run.run_id].sort_values("img_size").itertuples():
                of_run = [run.backbone, way(config), images, flops, config.seed]
                rows.append([*of_run, its.img_size, its.test_loss, its.top1])
    return pd.DataFrame(rows, columns=LOSSES)


def sizes_of(config: ExperimentConfig) -> str:
    """Sizes of the training images, a way of losses."""
    packing = config.packing
    assert isinstance(packing, SequencePacking)
    return packing.sizes_words


def full_size(found: pd.DataFrame) -> str:
    """What models of the full size alone are trained at, in the words of `trained`."""
    fixed = [name for name in found["trained"].unique() if name.removesuffix(" px").isdecimal()]
    return max(fixed, key=lambda name: parse_sizes(name.removesuffix(" px")), default="")


def comparisons(found: pd.DataFrame) -> pd.DataFrame:
    """COMPARED, a row per way of training, number of images and size in evaluation: change, low, high, of the loss
    relative to that of the full size alone, with its 95 % interval [1]; p, p_holm; verdict: better, worse, undecided or
    untested. found: of losses."""
    full, rows = full_size(found), []
    for (backbone, size), its in found.groupby(["backbone", "size"], sort=False):
        alone = its[its["trained"] == full]
        for (trained, images), ours in its[its["trained"] != full].groupby(["trained", "images"], sort=False):
            if not set(alone["seed"]) & set(ours["seed"]):
                continue
            test = log_difference(*(np.log(one.set_index("seed")["test_loss"]) for one in (alone, ours)))
            ends = [math.expm1(value) for value in (test.mean, test.low, test.high)]
            rows.append([backbone, trained, images, size, *ends, test.p, math.nan, ""])
    return with_verdicts(pd.DataFrame(rows, columns=COMPARED), "backbone")


def printed(found: pd.DataFrame, way: str = "trained at") -> pd.DataFrame:
    """The runs of one backbone as text, a row per way of training and number of images: mean and standard deviation of
    the test loss over seeds at every size. way: name of what differs between runs."""
    rows = []
    for (trained, images), its in found.groupby(["trained", "images"], sort=False):
        at = {f"{size} px [nats]": spread(one["test_loss"], 3) for size, one in its.groupby("size")}
        rows.append({way: trained, "images": f"{images:,}", "FLOPs": short(its["flops"].mean()), **at})
    return pd.DataFrame(rows)


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """Comparisons of one backbone as text: a row per way of training, with the change of the loss [%] and its 95 %
    interval at every size."""
    rows = []
    for (trained, images), its in table.groupby(["trained", "images"], sort=False):
        cells = {}
        for one in its.itertuples():
            text = change_text((one.change, one.low, one.high), one.verdict)
            cells[f"{one.size} px [%]"] = f"{text}\n{one.verdict}"
        rows.append({"loss against the\nfull size alone": f"{trained}\n{images:,} images", **cells})
    return pd.DataFrame(rows)
