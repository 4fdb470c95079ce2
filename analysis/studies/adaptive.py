"""Adaptive patches against uniform ones with as many tokens, on as many images.

Differences are of log loss, paired over seeds, with Holm's correction for the comparisons of a backbone: of each
embedding with the convolution, and of trees that follow the content with the trees of the turned image, which have as
many leaves of each size at other places.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from analysis.records.patch_tests import log_difference, with_verdicts
from analysis.records.run_frame import EMBEDDING
from analysis.report.sweep_table import short
from analysis.studies.cell_text import change_text, spread
from analysis.studies.study_table import StudyRun, study_table

PLAIN, RESIZED = "conv", "flexible"
CONTENT, TURNED = ("adaptive", "adaptive, split_by edges"), "adaptive, split_by turned"
WORDS = {
    PLAIN: "uniform",
    RESIZED: "uniform, resized",
    CONTENT[0]: "by variance",
    CONTENT[1]: "by edges",
    TURNED: "by turned tree",
}
FACTS = ["images_per_second", "leaves"]
COMPARED = ["backbone", "tokens", "patches", "against", "change", "low", "high", "p", "p_holm", "verdict"]


def adaptive_table(frame: pd.DataFrame, planned: Sequence[StudyRun]) -> pd.DataFrame:
    """study_table's rows with patches (one of WORDS), images_per_second and leaves (mean of a test image; nan where
    patches are uniform), in the order of tokens and of WORDS.

    frame: of a RunSet."""
    facts = frame[["run_id", EMBEDDING]].assign(**{name: frame.get(name, math.nan) for name in FACTS})
    table = study_table(frame, planned).merge(facts, on="run_id")
    kinds = table[EMBEDDING].str.replace(r", kernel_size \d+", "", regex=True)  # of every patch size another one
    order = {name: number for number, name in enumerate(WORDS)}
    first = {backbone: number for number, backbone in enumerate(table["backbone"].unique())}
    keys = pd.DataFrame({"a": table["backbone"].map(first), "b": table["tokens"], "c": kinds.map(order)})
    placed = keys.assign(d=table["seed"]).sort_values(list("abcd")).index
    return table.assign(patches=kinds.map(WORDS)).loc[placed].reset_index(drop=True)


def comparisons(table: pd.DataFrame) -> pd.DataFrame:
    """COMPARED, a row per number of tokens and pair of kinds of patches: change, low, high, of the loss relative to
    that of `against`, with its 95 % interval [1]; p, p_holm; verdict: better, worse, undecided or untested. table: of
    adaptive_table."""
    pairs = [(name, PLAIN) for name in WORDS if name != PLAIN] + [(name, TURNED) for name in CONTENT]
    rows = []
    for (backbone, tokens), its in table.groupby(["backbone", "tokens"], sort=False):
        log_of = {name: np.log(one.set_index("seed")["test_loss"]) for name, one in its.groupby("patches")}
        for ours, theirs in ((WORDS[a], WORDS[b]) for a, b in pairs):
            if ours in log_of and theirs in log_of:
                found = log_difference(log_of[theirs], log_of[ours])
                ends = [math.expm1(value) for value in (found.mean, found.low, found.high)]
                rows.append([backbone, tokens, ours, theirs, *ends, found.p, math.nan, ""])
    return with_verdicts(pd.DataFrame(rows, columns=COMPARED), "backbone")


def printed(table: pd.DataFrame) -> pd.DataFrame:
    """The runs of one backbone as text, a row per number of tokens and kind of patches: mean and standard deviation
    over seeds."""
    rows = []
    for (tokens, patches), its in table.groupby(["tokens", "patches"], sort=False):
        leaves = its["leaves"].mean()
        rows.append(
            {
                "tokens": f"{tokens:,}",
                "patches": patches,
                "leaves": "-" if math.isnan(leaves) else f"{leaves:.1f}",
                "FLOPs": short(its["flops_per_image"].mean()),
                "images/s": f"{its['images_per_second'].mean():,.0f}",
                "loss [nats]": spread(its["test_loss"], 3),
                "top-1 [%]": spread(its["top1"], 1),
            }
        )
    return pd.DataFrame(rows)


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """Comparisons of one backbone as text: a row per pair, with the change of the loss [%] and its 95 % interval at
    every number of tokens."""
    rows = []
    for (patches, against), its in table.groupby(["patches", "against"], sort=False):
        cells = {"loss of": patches, "against": against}
        for one in its.itertuples():
            text = change_text((one.change, one.low, one.high), one.verdict)
            cells[f"{one.tokens} tokens [%]"] = f"{text}\n{one.verdict}"
        rows.append(cells)
    return pd.DataFrame(rows).fillna("-")


def sentences(found: pd.DataFrame) -> Iterator[str]:
    """What is decided, for each backbone: whether places that follow the content help, and whether adaptive patches are
    better than uniform ones. found: of comparisons."""
    for (backbone, against), its in found.groupby(["backbone", "against"], sort=False):
        words = []
        for patches, one in its.groupby("patches", sort=False):
            by_verdict = [f"{verdict} at {_tokens(of)}" for verdict, of in one.groupby("verdict", sort=False)]
            words.append(f"{patches}: {', '.join(by_verdict)}")
        yield f"{backbone}, against {against} with as many tokens: {'; '.join(words)}."


def _tokens(rows: pd.DataFrame) -> str:
    return f"{', '.join(f'{n:,}' for n in rows['tokens'])} tokens"


def drawn(table: pd.DataFrame) -> pd.DataFrame:
    """The rows as study_figure takes them: loss against tokens, a panel per backbone, a line per kind of patches."""
    return pd.DataFrame(
        {
            "x": table["tokens"],
            "test_loss": table["test_loss"],
            "panel": table["backbone"],
            "colour": table["patches"],
            "dash": "",
            "note": "",
        }
    )
