"""Finetuning at another patch size: test loss over the steps of finetuning, for each position encoding and each way of
resizing the patch kernel, beside models that were trained at that patch size.

The loss at once less the loss after the most steps is the gap; steps to a share of it are those by which finetuning has
closed this share, interpolated in log(1 + steps). Differences are paired over seeds, with Holm's correction for the
comparisons of a backbone at one patch size.
"""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from analysis.records.patch_tests import with_verdicts
from analysis.records.seed_noise import difference
from analysis.studies.cell_text import spread
from analysis.studies.transfer import DIRECT

SHARE = 0.9  # of the gap
PSEUDO_INVERSE, AS_IMAGE = "pi", "vanilla"  # ways of resizing the kernel that are compared
LEARNED = "learned"  # the encoding that others are compared with
GAPS = ["backbone", "encoding", "kernel", "patch", "seed", "at_once", "finetuned", "steps"]
OF = ["what", "backbone", "encoding", "patch", "steps"]
COMPARED = [*OF, "change", "low", "high", "p", "p_holm", "verdict"]
FAMILY = ["what", "backbone", "patch"]  # of comparisons that Holm's correction is for


def gaps(found: pd.DataFrame) -> pd.DataFrame:
    """GAPS, a row per finetuned model and seed: at_once, finetuned [nats], the losses without and with the most steps;
    steps to SHARE of the gap (nan where finetuning has not lowered the loss). found: of transfer.transfers."""
    rows = []
    moved = found[found["rule"] != DIRECT]
    for key, its in moved.groupby(["backbone", "encoding", "kernel", "patch", "seed"], sort=False):
        curve = its.sort_values("steps")
        losses, steps = curve["test_loss"].to_numpy(float), curve["steps"].to_numpy(float)
        rows.append([*key, losses[0], losses[-1], steps_to_share(steps, losses)])
    return pd.DataFrame(rows, columns=GAPS)


def steps_to_share(steps: np.ndarray, losses: np.ndarray, share: float = SHARE) -> float:
    """The first number of steps, from the least to the most, at which the loss has fallen by this share of its whole
    fall; between two numbers of steps it is taken to be linear in log(1 + steps). nan where it has not fallen."""
    gap = losses[0] - losses[-1]
    if len(losses) < 2 or steps[0] != 0 or gap <= 0:
        return math.nan
    aim, x = losses[0] - share * gap, np.log1p(steps)
    after = int(np.argmax(losses <= aim))  # not 0: there the loss is whole
    weight = (losses[after - 1] - aim) / (losses[after - 1] - losses[after])
    return float(np.expm1(x[after - 1] + weight * (x[after] - x[after - 1])))


def comparisons(found: pd.DataFrame, by_gap: pd.DataFrame) -> pd.DataFrame:
    """COMPARED, paired over seeds. what "kernel": of every encoding, patch and number of steps the loss with the kernel
    resized like an image less that with its pseudo-inverse [nats]. what "encoding": of every encoding but LEARNED and
    patch the natural logarithm of the ratio of its steps to SHARE of the gap to those of LEARNED, with the pseudo-
    inverse; steps is -1. change, low, high: the difference and its 95 % interval; p, p_holm; verdict: better (less),
    worse, undecided or untested.

    found: of transfer.transfers; by_gap: of gaps."""
    rows = []
    moved = found[found["rule"] != DIRECT]
    for of_model, its in moved.groupby(OF[1:], sort=False):
        of_way = {kernel: runs.set_index("seed")["test_loss"] for kernel, runs in its.groupby("kernel")}
        rows += _row(["kernel", *of_model], of_way.get(PSEUDO_INVERSE), of_way.get(AS_IMAGE))
    with_inverse = by_gap[by_gap["kernel"] == PSEUDO_INVERSE].dropna(subset=["steps"])
    for (backbone, patch), its in with_inverse.groupby(["backbone", "patch"], sort=False):
        of_kind = {kind: np.log(runs.set_index("seed")["steps"]) for kind, runs in its.groupby("encoding", sort=False)}
        for kind, steps in of_kind.items():
            if kind != LEARNED:
                rows += _row(["encoding", backbone, kind, patch, -1], of_kind.get(LEARNED), steps)
    return with_verdicts(pd.DataFrame(rows, columns=COMPARED), FAMILY)


def _row(of: list[object], first: pd.Series | None, second: pd.Series | None) -> list[list[object]]:
    """One row of COMPARED, second less first; none where they share no seed."""
    if first is None or second is None:
        return []
    seeds = first.index.intersection(second.index)
    test = difference(first[seeds], second[seeds])
    return [[*of, test.mean, test.low, test.high, test.p, math.nan, ""]] if len(seeds) else []


def printed(found: pd.DataFrame, by_gap: pd.DataFrame) -> pd.DataFrame:
    """One backbone's losses at one patch size as text for 80 columns: a row per encoding and kernel, a column per
    number of steps, means over seeds [nats], and mean and standard deviation of the steps to SHARE of the gap."""
    rows = []
    for (encoding, kernel), its in found[found["rule"] != DIRECT].groupby(["encoding", "kernel"], sort=False):
        cells = {str(steps): f"{runs['test_loss'].mean():.3f}" for steps, runs in its.groupby("steps")}
        own = by_gap[(by_gap["encoding"] == encoding) & (by_gap["kernel"] == kernel)]["steps"].dropna()
        there = found[(found["rule"] == DIRECT) & (found["encoding"] == encoding)]["test_loss"]
        rows.append(
            {
                "positions\nand kernel": f"{encoding}, {kernel}",
                **cells,
                DIRECT.replace(" ", "\n"): f"{there.mean():.3f}" if len(there) else "-",
                f"steps to\n{100 * SHARE:.0f} %": spread(own, 0) if len(own) else "-",
            }
        )
    return pd.DataFrame(rows).fillna("-")


def sentences(table: pd.DataFrame) -> Iterator[str]:
    """The verdicts of comparisons. table: of comparisons."""
    of_kernels, of_kinds = (table[table["what"] == what] for what in ("kernel", "encoding"))
    for (backbone, patch, encoding), its in of_kernels.groupby(["backbone", "patch", "encoding"], sort=False):
        by_verdict = its.groupby("verdict", sort=False)["steps"]
        words = "; ".join(f"{verdict} after {', '.join(map(str, steps))}" for verdict, steps in by_verdict)
        yield f"{backbone}, {encoding} at {patch} px, kernel {AS_IMAGE} against {PSEUDO_INVERSE}: {words} steps."
    for one in of_kinds.to_dict("records"):
        ratio, low, high = (math.exp(one[end]) for end in ("change", "low", "high"))
        ends = "" if math.isnan(low) else f" [{low:.2g}, {high:.2g}]"
        words = f"{ratio:.2g}{ends} times those of {LEARNED}, {one['verdict']}"
        where = f"{one['backbone']}, {one['encoding']} at {one['patch']} px"
        yield f"{where}, steps to {100 * SHARE:.0f} % of the gap: {words}."
