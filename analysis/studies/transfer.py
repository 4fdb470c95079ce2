"""Transfer: test losses of models that were brought to another grid by each rule of their position encoding, at once
and after finetuning, beside models with the same encoding that were trained there.

Differences are of test loss in nats, paired over seeds, with Holm's correction for the rules and steps of an encoding
at one grid.
"""

import math
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from analysis.records.patch_tests import with_verdicts
from analysis.records.position_text import transfer_rule
from analysis.records.run_set import RunSet
from analysis.records.seed_noise import difference
from analysis.studies.cell_text import spread
from analysis.studies.study_table import StudyRun
from scaling.config.initialization import FromRun
from scaling.runs.record import RunRecord

DIRECT = "trained there"  # rule of a model that was not brought from another grid
TRANSFERS = ["backbone", "encoding", "rule", "kernel", "image", "patch", "side", "steps", "seed", "test_loss"]
OF = ["backbone", "encoding", "rule", "side", "steps", "against"]
COMPARED = [*OF, "change", "low", "high", "p", "p_holm", "verdict"]
FAMILY = ["backbone", "encoding", "side", "against"]  # of comparisons that Holm's correction is for


def transfers(runs: RunSet, planned: Sequence[StudyRun]) -> pd.DataFrame:
    """TRANSFERS, a row per planned run that finished, by backbone and encoding: rule (DIRECT: none), kernel
    (how the patch kernel was resized, "": not), image and patch [px], side (of the grid, in that of the first training
    [1]), steps of finetuning, test_loss [nats]. A transfer without steps to the first grid itself, which changes
    nothing, is a row of DIRECT too.

    A backbone whose transfers have not finished has no rows: its first grid is theirs."""
    done = runs.finished.set_index("run_id")
    configs = {
        run.run_id: RunRecord.load(Path(str(done.loc[run.run_id, "folder"]))).experiment()
        for run in planned
        if run.run_id in done.index
    }
    rows = []
    for run_id, config in configs.items():
        model, init = config.model, config.init
        of_run = [model.backbone, model.pos_embed.kind]
        where = [model.img_size, model.patch_size, model.img_size / model.patch_size]
        how = [DIRECT, "", *where, 0]
        if isinstance(init, FromRun):
            how = [transfer_rule(config), init.patch_embed_resampling or "", *where, config.schedule.max_steps or 0]
        rows.append([*of_run, *how, config.seed, done.loc[run_id, "test_loss"]])
    firsts = {c.model.backbone: c.predecessor.model for c in configs.values() if c.predecessor is not None}
    grids = {backbone: model.img_size / model.patch_size for backbone, model in firsts.items()}
    found = pd.DataFrame(rows, columns=TRANSFERS)
    found = found.assign(side=found["side"] / found["backbone"].map(grids)).dropna(subset=["side"])
    unmoved = found[(found["side"] == 1) & (found["steps"] == 0)]
    whole = pd.concat([unmoved.assign(rule=DIRECT), found])
    kinds = whole["backbone"] + " " + whole["encoding"]
    return whole.iloc[pd.factorize(kinds)[0].argsort(kind="stable")].reset_index(drop=True)


def comparisons(found: pd.DataFrame) -> pd.DataFrame:
    """COMPARED, a row per encoding, rule, side and steps, against the model trained there, and against the first rule
    of the encoding: change, low, high, of the loss with its 95 % interval [nats]; p, p_holm; verdict: better, worse,
    undecided or untested. At side 1 the model trained there is the same one before finetuning.

    found: of transfers."""
    rows = []
    for (backbone, encoding, side), its in found.groupby(["backbone", "encoding", "side"], sort=False):
        by_way = {
            (str(rule), int(str(steps))): runs.set_index("seed")["test_loss"]
            for (rule, steps), runs in its.groupby(["rule", "steps"], sort=False)
        }
        first = next((rule for rule, _ in by_way if rule != DIRECT), "")
        for (rule, steps), ours in by_way.items():
            if rule == DIRECT or (side == 1 and steps == 0):  # the model trained there itself
                continue
            for name, theirs in ((DIRECT, by_way.get((DIRECT, 0))), (first, by_way.get((first, steps)))):
                seeds = ours.index if theirs is None else ours.index.intersection(theirs.index)
                if theirs is not None and rule != name and len(seeds):
                    test = difference(theirs[seeds], ours[seeds])
                    of_rule = [backbone, encoding, rule, side, steps, name]
                    rows.append([*of_rule, test.mean, test.low, test.high, test.p, math.nan, ""])
    return with_verdicts(pd.DataFrame(rows, columns=COMPARED), FAMILY)


def printed(found: pd.DataFrame) -> pd.DataFrame:
    """One backbone's losses as text for 80 columns, a row per encoding, rule and steps, a column per size of the image:
    mean and standard deviation over seeds [nats]."""
    rows = []
    for (encoding, rule, steps), its in found.groupby(["encoding", "rule", "steps"], sort=False):
        cells = {f"{image} px": spread(runs["test_loss"], 3) for image, runs in its.groupby("image")}
        rows.append({"positions": _named(encoding, rule, steps), **cells})
    sizes = [f"{image} px" for image in sorted(found["image"].unique())]
    return pd.DataFrame(rows, columns=["positions", *sizes]).fillna("-")


def printed_changes(table: pd.DataFrame) -> pd.DataFrame:
    """One backbone's comparisons with models trained there as text for 80 columns: a row per encoding, rule and steps,
    with the difference of the loss, its 95 % interval [nats] and the verdict at every side but the first."""
    its, rows = table[(table["against"] == DIRECT) & (table["side"] != 1)], []
    for (encoding, rule, steps), ours in its.groupby(["encoding", "rule", "steps"], sort=False):
        cells = {f"{one['side']:g} x": _change(one) for one in ours.to_dict("records")}
        rows.append({"positions": _named(encoding, rule, steps), **cells})
    sides = [f"{side:g} x" for side in sorted(its["side"].unique())]
    return pd.DataFrame(rows, columns=["positions", *sides]).fillna("-")


def sentences(found: pd.DataFrame, table: pd.DataFrame) -> Iterator[str]:
    """For each backbone, side and number of steps the encoding and rule of the lowest mean loss; for each encoding with
    several rules whether the others are better or worse than its first. found: of transfers; table: of comparisons."""
    moved = found[(found["rule"] != DIRECT) & (found["side"] != 1)]
    for (backbone, steps), its in moved.groupby(["backbone", "steps"], sort=False):
        means = its.groupby(["side", "encoding", "rule"])["test_loss"].mean()
        best = [means.loc[[side]].idxmin() for side in sorted(set(its["side"]))]
        words = "; ".join(f"{side:g} x the side: {encoding}, {rule}" for side, encoding, rule in best)
        yield f"{backbone}, {steps} steps, lowest mean loss at {words}."
    rules = table[table["against"] != DIRECT]
    for (backbone, encoding, rule, first), its in rules.groupby(
        ["backbone", "encoding", "rule", "against"], sort=False
    ):
        verdicts = []
        for verdict, ours in its.groupby("verdict", sort=False):
            where = [f"{side:g} x with {steps} steps" for side, steps in zip(ours["side"], ours["steps"], strict=True)]
            verdicts.append(f"{verdict} at {', '.join(where)}")
        yield f"{backbone}, {encoding}, {rule} against {first}: {'; '.join(verdicts)}."


def _named(encoding: object, rule: object, steps: object) -> str:
    return f"{encoding}\n{rule}" + (f", {steps}" if rule != DIRECT else "")


def _change(row: dict[Hashable, object]) -> str:
    mean, low, high = (float(str(row[end])) for end in ("change", "low", "high"))
    ends = "" if math.isnan(low) else f"\n[{low:+.3f}, {high:+.3f}]"
    return f"{mean:+.3f} {row['verdict']}{ends}"
