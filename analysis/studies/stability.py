"""Stability: how clipping, warm-up and the norm change the loss, with a fixed patch size and with one drawn per step.

The effect of a setting is the change of log loss against the setting of the recipe, averaged over all combinations of
the others and paired over seeds: the main effect of a factorial design. Its difference between drawn and fixed patch
sizes shows whether a setting matters more where the patch varies. Holm's correction is for the effects of a backbone.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.records.curve_points import read_curve
from analysis.records.patch_tests import log_difference, with_verdicts
from analysis.records.run_frame import PATCHES
from analysis.studies.cell_text import change_text, spread
from analysis.studies.loss_rise import by_window
from analysis.studies.study_table import StudyRun
from analysis.studies.training_steps import CLIPPED, SPIKES
from scaling.config.experiment import ExperimentConfig
from scaling.runs.record import CURVE, RunRecord

FACTORS = ["norm", "warmup", "clip"]
BASE = {"norm": "layer", "warmup": "10 %", "clip": "1"}  # of the recipes, which the other settings are compared with
RUNS = ["backbone", "patches", *FACTORS, "seed", "failed", "test_loss", "rise", SPIKES, CLIPPED]
EFFECTS = ["backbone", "patches", "setting", "change", "low", "high", "p", "p_holm", "verdict"]
INTERACTION = "drawn against fixed"  # of the column patches: how much larger an effect is there


def stability_runs(frame: pd.DataFrame, planned: Sequence[StudyRun]) -> pd.DataFrame:
    """RUNS, a row per planned run that ended and has a curve, in the order of planned: patches of the steps [px],
    settings as text, failed (whether the loss became not finite), test_loss [nats] (nan where it failed), rise (the
    largest increase of the training loss from one part of the run to the next; analysis/studies/loss_rise.py) [nats],
    loss_spikes [1] and clipped_steps [%] of the record (nan: not known, or nothing was clipped).

    frame: of a RunSet.  Raises ConfigError for a damaged curve."""
    ended = frame.set_index("run_id")
    rows = []
    for run in (ended.loc[one.run_id] for one in planned if one.run_id in ended.index):
        folder = Path(run["folder"])
        curve = read_curve(folder / CURVE)
        if not curve.empty:
            failed = run["status"] == "failed"
            drawn = str(run[PATCHES] or run["patch"])
            settings = _settings(RunRecord.load(folder).experiment())
            rows.append(
                {
                    **{"backbone": run["backbone"], "patches": f"{drawn} px", **settings, "seed": run["seed"]},
                    **{"failed": failed, "test_loss": math.nan if failed else run["test_loss"]},
                    "rise": by_window(curve).diff().max(),
                    **{metric: run.get(metric, math.nan) for metric in (SPIKES, CLIPPED)},
                }
            )
    return pd.DataFrame(rows, columns=RUNS)


def _settings(config: ExperimentConfig) -> dict[str, str]:
    clip = config.optim.max_grad_norm
    warmup = config.schedule.warmup_epochs / config.schedule.epochs
    return {"norm": config.model.norm, "warmup": f"{100 * warmup:g} %", "clip": "none" if clip is None else f"{clip:g}"}


def effects(runs: pd.DataFrame) -> pd.DataFrame:
    """EFFECTS, a row per backbone, patches and setting other than BASE's, as "clip none": change, low, high, of the
    loss relative to BASE's with its 95 % interval [1], where patches is INTERACTION of drawn relative to fixed; p,
    p_holm; verdict: better, worse, undecided or untested. runs: of stability_runs. Runs that failed are left out, with
    those of the same seed that they would be compared with."""
    rows = []
    for backbone, its in runs.groupby("backbone", sort=False):
        kinds = list(its["patches"].unique())
        for factor, base in BASE.items():
            for value in [value for value in its[factor].unique() if value != base]:
                found = {kind: _by_seed(its[its["patches"] == kind], factor, base, value) for kind in kinds}
                found = {kind: by_seed for kind, by_seed in found.items() if len(by_seed)}
                if len(found) == 2:
                    fixed, drawn = (found[kind] for kind in kinds)
                    found[INTERACTION] = (drawn - fixed).dropna()
                for kind, by_seed in found.items():
                    test = log_difference(0 * by_seed, by_seed)
                    ends = [math.expm1(end) for end in (test.mean, test.low, test.high)]
                    rows.append([backbone, kind, f"{factor} {value}", *ends, test.p, math.nan, ""])
    return with_verdicts(pd.DataFrame(rows, columns=EFFECTS), "backbone")


def _by_seed(runs: pd.DataFrame, factor: str, base: str, value: str) -> pd.Series:
    """The change of log loss from base to value by seed, averaged over the combinations of the other settings that both
    have finished runs of."""
    others = [name for name in FACTORS if name != factor]
    log = runs.assign(log=np.log(runs["test_loss"])).set_index(["seed", *others])
    changes = log.loc[log[factor] == value, "log"] - log.loc[log[factor] == base, "log"]
    return changes.dropna().groupby("seed").mean()


def printed(runs: pd.DataFrame) -> pd.DataFrame:
    """The losses of one backbone and kind of patch sizes as text, a row per norm and warm-up: by clipping [nats], mean
    and standard deviation over seeds, and how many runs failed."""
    rows = []
    for (norm, warmup), its in runs.groupby(["norm", "warmup"], sort=False):
        cells = {f"clip {clip}": spread(ours["test_loss"], 3) for clip, ours in its.groupby("clip", sort=False)}
        rows.append({"norm": _short(norm), "warmup": warmup, **cells, "failed": str(int(its["failed"].sum()))})
    return pd.DataFrame(rows).fillna("-")


def printed_steps(runs: pd.DataFrame) -> pd.DataFrame:
    """How training went, of one backbone and kind of patch sizes as text, a row per norm and clipping: means over all
    warm-ups and seeds."""
    rows = []
    for (norm, clip), its in runs.groupby(["norm", "clip"], sort=False):
        means = its[[CLIPPED, SPIKES, "rise"]].mean()
        cells = zip(("clipped steps [%]", "spikes a run", "rise [nats]"), means, (1, 2, 2), strict=True)
        shown = {name: "-" if math.isnan(mean) else f"{mean:.{decimals}f}" for name, mean, decimals in cells}
        rows.append({"norm": _short(norm), "clip": clip, **shown})
    return pd.DataFrame(rows)


def _short(norm: object) -> str:
    return str(norm).removeprefix("batch_").replace("_", " ")


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """Effects of one backbone as text: a row per setting and patches, with the change of the loss [%] and its 95 %
    interval."""
    rows = []
    for one in table.itertuples():
        text = change_text((one.change, one.low, one.high), one.verdict)
        rows.append({"setting": one.setting, "patches": one.patches, "loss [%]": f"{text} {one.verdict}"})
    return pd.DataFrame(rows)
