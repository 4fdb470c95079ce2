"""Test losses by patch size and images seen: the points of a law L(p, D), from the curves and ends of finished runs."""

from pathlib import Path

import pandas as pd

from analysis.records.run_frame import PATCHES
from analysis.records.run_set import RunSet
from scaling.errors import ConfigError
from scaling.runs.record import CURVE

COLUMNS = ["run_id", "group", "patch", "seed", "images", "share", "y"]
READ = ("step", "seconds", "train_loss", "test_loss")  # columns of a curve
FEWEST_LENGTHS = 3  # of finished runs, and of patch sizes, that a law of the ends alone needs
FEWEST_ENDS = 6  # distinct pairs of patch size and length: one more than the law has parameters


def curve_points(runs: RunSet) -> pd.DataFrame:
    """A row per test loss of every finished run: run_id, group (of its recipe at any length), patch [px], seed, images
    (seen by then, repetitions included), share (of the run's images [1]; 1: its end), y (test loss [nats]). The end has
    the reported test loss. A run without test losses in its curve has its end alone; one without a curve has none, nor
    has one that learned several patch sizes, which saw only a part of its images at each. Runs of a CSV file have
    their ends alone, where its column `images` has a number.
    Raises ConfigError for a damaged curve, and for a CSV file without that column."""
    if runs.from_csv:
        return _ends_of_csv(runs)
    rows = []
    done = runs.finished
    for run in done[done[PATCHES] == ""].itertuples():
        curve = read_curve(Path(str(run.folder)) / CURVE)
        if curve.empty:
            continue
        last = curve["step"].max()
        before = curve[curve["step"] < last]
        losses = before["test_loss"] if "test_loss" in before else pd.Series(dtype=float)
        steps = [*before["step"][losses.index[losses > 0]], last]
        for step, loss in zip(steps, [*losses[losses > 0], run.test_loss], strict=True):
            rows.append([run.run_id, run.any_length, run.patch, run.seed, step * run.batch, step / last, loss])
    points = pd.DataFrame(rows, columns=COLUMNS)
    return points[points["y"] > 0]


def _ends_of_csv(runs: RunSet) -> pd.DataFrame:
    if "images" not in runs.frame:
        raise ConfigError(f"{runs.source} has no column images, the number that each run has seen")
    done = runs.finished.assign(share=1.0)
    points = done.rename(columns={"any_length": "group", "group": "one_length", "test_loss": "y"})[COLUMNS]
    return points[(points["y"] > 0) & (points["images"] > 0)]


def read_curve(path: Path) -> pd.DataFrame:
    """step, seconds and, where it has them, train_loss and test_loss [nats] of a curve; empty where there is none.
    Raises ConfigError for a damaged one."""
    if not path.is_file():
        return pd.DataFrame()
    try:
        curve = pd.read_csv(path, usecols=lambda name: name in READ, dtype=float)
        return curve[curve["step"] > 0]
    except (ValueError, KeyError) as e:
        why = str(e).strip().splitlines()[-1]
        raise ConfigError(f"{path} is damaged ({why}); move its run out of the results folder") from e


def ends(points: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The ends of one group's runs and "" where they suffice for a law of patch size and images seen, or no rows and
    what they lack."""
    last = points[points["share"] == 1]
    lengths, patches = last["images"].nunique(), last["patch"].nunique()
    pairs = len(last[["patch", "images"]].drop_duplicates())
    if min(lengths, patches) >= FEWEST_LENGTHS and pairs >= FEWEST_ENDS:
        return last, ""
    has = f"patch sizes: {patches}, lengths: {lengths}, pairs of them: {pairs}"
    needs = f"{FEWEST_LENGTHS}, {FEWEST_LENGTHS} and {FEWEST_ENDS}"
    return last[:0], f"finished runs alone are too few ({has}; needed: {needs})"
