"""Test losses by patch size and images seen: the points of a law L(p, D), from the curves of finished runs."""

from pathlib import Path

import pandas as pd

from analysis.records.run_set import RunSet
from scaling.runs.record import CURVE

COLUMNS = ["run_id", "group", "patch", "seed", "images", "share", "y"]


def curve_points(runs: RunSet) -> pd.DataFrame:
    """A row per test loss of every finished run: run_id, group, patch [px], seed, images (seen by then), share (of the
    run's images [1]; 1: its end), y (test loss [nats]). Runs without test losses in a curve are left out."""
    rows = []
    for run in runs.finished.itertuples():
        path = Path(str(run.folder)) / CURVE
        if not path.is_file():
            continue
        curve = pd.read_csv(path)
        if curve.empty or "test_loss" not in curve:
            continue
        last = curve["step"].max()
        for step, loss in curve.loc[curve["test_loss"] > 0, ["step", "test_loss"]].itertuples(index=False):
            rows.append([run.run_id, run.group, run.patch, run.seed, step * run.batch, step / last, loss])
    return pd.DataFrame(rows, columns=COLUMNS)
