"""Range of good learning rates: how many octaves of them a fixed patch size tolerates, and one drawn per step.

Good are rates whose test loss, a mean over seeds, is within MARGIN of the lowest; between two rates it is linear in the
logarithm of the rate. The range is what of it is connected to the best rate. It ends before a rate at which a run
failed, and it may be truncated by the lowest or the highest rate that was tried: such a range is a lower bound.

Widths and their intervals are by the jackknife over seeds: the mean of the pseudo-values and Student's t (Tukey 1958),
paired where fixed and drawn sizes have the same seeds.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.records.run_frame import PATCHES
from analysis.records.seed_noise import difference
from analysis.studies.cell_text import spread
from analysis.studies.study_table import StudyRun
from scaling.runs.record import RunRecord

MARGIN = 0.02  # of the loss above the lowest [nats]
RUNS = ["backbone", "patches", "clip", "lr", "seed", "failed", "test_loss"]
OF = ["backbone", "patches", "clip"]
ENDS = "low_rate", "high_rate"
RANGES = [*OF, "best", *ENDS, "open", "octaves", "low", "high", "failed", "runs"]
DRAWN = "drawn less fixed"  # of the column patches: the difference of the octaves


class Range(NamedTuple):
    """Of learning rates."""

    best: float  # rate of the lowest loss
    low: float  # first good rate
    high: float  # last good rate
    open: str  # "low", "high" or "both": where the tried rates truncate it; "" where nothing is

    @property
    def octaves(self) -> float:
        """Its width [1]."""
        return math.log2(self.high / self.low)


def rate_runs(frame: pd.DataFrame, planned: Sequence[StudyRun]) -> pd.DataFrame:
    """RUNS, a row per planned run that ended, in the order of planned: patches of the steps [px], clip as text, whether
    it failed (a loss that is not finite), test_loss [nats] (nan where it failed). frame: of a RunSet."""
    ended = frame.set_index("run_id")
    rows = []
    for run in (ended.loc[one.run_id] for one in planned if one.run_id in ended.index):
        clip = RunRecord.load(Path(str(run["folder"]))).experiment().optim.max_grad_norm
        failed = run["status"] == "failed"
        its = [run["backbone"], f"{run[PATCHES] or run['patch']} px", "none" if clip is None else f"{clip:g}"]
        rows.append([*its, run["lr"], run["seed"], failed, math.nan if failed else run["test_loss"]])
    return pd.DataFrame(rows, columns=RUNS)


def good_range(rates: np.ndarray, losses: np.ndarray, margin: float = MARGIN) -> Range:
    """Of losses [nats] at ascending rates; nan is a rate that is not good."""
    least = int(np.nanargmin(losses))
    level = losses[least] + margin
    ends, cut = [], []
    for step, name in ((-1, "low"), (1, "high")):
        at = least
        while 0 <= at + step < len(rates) and losses[at + step] <= level:
            at += step
        beyond, end = at + step, math.log2(rates[at])
        if not 0 <= beyond < len(rates):
            cut.append(name)
        elif losses[beyond] > level:
            share = (level - losses[at]) / (losses[beyond] - losses[at])
            end += share * (math.log2(rates[beyond]) - end)
        ends.append(2**end)
    low, high = ends
    return Range(float(rates[least]), low, high, "both" if len(cut) == 2 else "".join(cut))


def ranges(runs: pd.DataFrame) -> pd.DataFrame:
    """RANGES, a row per backbone, clip and patches of the steps, and one for DRAWN: best, low_rate, high_rate, open, as
    of Range (of DRAWN, open is where either of the two is truncated); octaves, corrected for bias by the jackknife,
    with its 95 % interval low, high; how many runs failed, of how many. runs: of rate_runs; seeds without all rates are
    left out."""
    rows = []
    for (backbone, clip), its in runs.groupby(["backbone", "clip"], sort=False):
        octaves = []
        for patches, ours in its.groupby("patches", sort=False):
            tried = ours.pivot(index="seed", columns="lr", values="failed").notna().all(axis=1)
            losses = ours.pivot(index="seed", columns="lr", values="test_loss")[tried]
            if losses.shape[1] > 1 and losses.notna().all().any():
                octaves.append(_pseudo_octaves(losses))
                of = [backbone, patches, clip, *_range(losses)]
                rows.append([*of, *_ends(0 * octaves[-1], octaves[-1]), ours["failed"].sum(), len(ours)])
        if len(octaves) == 2:
            cut = {str(row[RANGES.index("open")]) for row in rows[-2:]} - {""}
            of = [backbone, DRAWN, clip, math.nan, math.nan, math.nan, "both" if len(cut) > 1 else "".join(cut)]
            rows.append([*of, *_ends(*octaves), its["failed"].sum(), len(its)])
    return pd.DataFrame(rows, columns=RANGES)


def _range(losses: pd.DataFrame) -> Range:
    """Of the mean over seeds. losses: a row per seed, a column per rate, ascending; nan: failed."""
    return good_range(losses.columns.to_numpy(float), losses.to_numpy(float).mean(axis=0))


def _pseudo_octaves(losses: pd.DataFrame) -> pd.Series:
    """The pseudo-values of the width of the range by seed: n times that of all seeds less n - 1 times that of all but
    this one. Of one seed it is the width."""
    n, whole = len(losses), _range(losses).octaves
    if n == 1:
        return pd.Series(whole, losses.index)
    return pd.Series({seed: n * whole - (n - 1) * _range(losses.drop(index=seed)).octaves for seed in losses.index})


def _ends(first: pd.Series, second: pd.Series) -> tuple[float, float, float]:
    found = difference(first, second)
    return found.mean, found.low, found.high


def printed(runs: pd.DataFrame) -> pd.DataFrame:
    """The losses of one backbone as text, a row per rate: by clipping and patches of the steps [nats], mean and
    standard deviation over seeds of the runs that did not fail, and how many failed."""
    rows = []
    for rate, its in runs.sort_values("lr", kind="stable").groupby("lr"):
        cells = {
            f"clip {clip}\n{patches}": _with_failures(ours)
            for (clip, patches), ours in its.groupby(["clip", "patches"], sort=False)
        }
        rows.append({"learning rate": f"{rate:.2g}", **cells})
    return pd.DataFrame(rows).fillna("-")


def _with_failures(runs: pd.DataFrame) -> str:
    left = runs["test_loss"].dropna()
    failed = f"{runs['failed'].sum()} of {len(runs)} failed" if runs["failed"].any() else ""
    return ", ".join(filter(None, [spread(left, 3) if len(left) else "", failed]))


def printed_ranges(table: pd.DataFrame) -> pd.DataFrame:
    """The ranges of one backbone as text; ">" and "<": the tried rates truncate it."""
    rows = []
    for one in table.to_dict("records"):
        interval = "" if math.isnan(one["low"]) else f" [{one['low']:.1f}, {one['high']:.1f}]"
        rates = "-"
        if not math.isnan(one["best"]):
            signs = ["<" * (one["open"] in ("low", "both")), ">" * (one["open"] in ("high", "both"))]
            rates = " to ".join(f"{sign}{1000 * one[end]:.2g}" for sign, end in zip(signs, ENDS, strict=True))
        rows.append(
            {
                "clip": one["clip"],
                "patches": one["patches"],
                "good rates\n[1/1000]": rates,
                "octaves": f"{one['octaves']:.1f}{interval}",
                "failed": f"{one['failed']} of {one['runs']}",
            }
        )
    return pd.DataFrame(rows)


def sentences(table: pd.DataFrame) -> Iterator[str]:
    """Whether drawn sizes have a narrower range, by backbone and clipping. table: of ranges."""
    for one in table[table["patches"] == DRAWN].to_dict("records"):
        verdict = "narrower" if one["high"] < 0 else "wider" if one["low"] > 0 else "undecided"
        if one["open"]:
            verdict = "undecided, as the rates that were tried truncate a range"
        yield f"{one['backbone']}, clip {one['clip']}: the range of good rates with drawn patch sizes is {verdict}."
