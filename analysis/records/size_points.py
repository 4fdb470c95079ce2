"""Finished runs by model size, patch size and images seen: the points of a law L(N, p, D).

A family of runs differs in the size of its backbone, patch size, length and seed only. N is the number of parameters at
the smallest patch of each model, as in analysis/fitting/joint.py. Only the end of a run is a point: before, the
learning rate is not annealed.
"""

import json
from pathlib import Path

import pandas as pd

from analysis.records.run_set import RunSet
from scaling.config.canonical import as_json
from scaling.errors import ConfigError
from scaling.runs.record import CURVE, RunRecord

BACKWARD = 3.0  # FLOPs of a training step over those of its forward pass [1]
LENGTH = ("epochs", "steps", "train_images", "warmup_epochs", "warmup_steps")  # fields that a run's length changes
COLUMNS = ["family", "model", "parameters", "patch", "images", "seed", "y", "flops_per_image", "training_flops"]


def size_points(runs: RunSet) -> pd.DataFrame:
    """A row per finished run with a curve: family, model, parameters [1], patch [px], images (seen, new or repeated),
    seed, y (test loss [nats]), flops_per_image (forward) and training_flops [FLOPs]. Raises ConfigError for runs of a
    CSV file, which have no curves."""
    if runs.from_csv:
        raise ConfigError("a law of patch,params,images needs a results folder; a CSV file has no images seen")
    rows = []
    for run in runs.finished.itertuples():
        folder = Path(str(run.folder))
        if not (folder / CURVE).is_file() or not run.test_loss > 0:
            continue
        images = float(pd.read_csv(folder / CURVE)["step"].max() * run.batch)
        if not images > 0:
            continue
        cost = BACKWARD * run.flops_per_image * images
        facts = [run.backbone, run.parameters, run.patch, images, run.seed, run.test_loss, run.flops_per_image, cost]
        rows.append([_family(folder), *facts])
    points = pd.DataFrame(rows, columns=COLUMNS)
    smallest = points.sort_values("patch").groupby(["family", "model"])["parameters"].first().rename("N")
    points["parameters"] = points.join(smallest, on=["family", "model"])["N"].astype(float)
    return points


def _family(folder: Path) -> str:
    """The canonical configuration of a run without size, patch, length and seed."""
    values = json.loads(RunRecord.load(folder).experiment().canonical)
    values["backbone"] = str(values["backbone"]).replace("-", "_").split("_")[0]
    return as_json({name: value for name, value in values.items() if name not in ("patch", "seed", *LENGTH)})
