"""Patch embeddings and their initialisations: each one against the plain convolution of the same backbone.

At every patch size the loss is compared with that of the convolution, on equal images and at equal training FLOPs, and
over all patch sizes its exponent alpha, the slope of log loss over log patch size. All are paired over seeds, with
Holm's correction for the comparisons of a backbone.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from analysis.planning.pareto import training_flops
from analysis.records.groups import FEWEST_PATCHES
from analysis.records.patch_tests import holm, log_difference
from analysis.records.run_frame import EMBEDDING
from analysis.records.seed_noise import CONFIDENCE, difference
from analysis.report.sweep_table import short
from analysis.studies.study_table import StudyRun, study_table
from scaling.config.patch_embeds import ConvPatchEmbed

PLAIN = ConvPatchEmbed.kind
EQUAL = ("images", "FLOPs")  # what a run has as much of as the convolution at its patch size
FACTS = ["images_per_second", "peak_memory", "train_images"]
COMPARED = ["backbone", "embedding", "equal", "patch", "change", "low", "high", "p", "p_holm", "verdict"]
SLOPES = ["backbone", "embedding", "seeds", "alpha", "sd", "change", "low", "high", "p", "p_holm", "verdict"]


def embedding_table(frame: pd.DataFrame, planned: Sequence[StudyRun]) -> pd.DataFrame:
    """study_table's rows with embedding, equal (one of EQUAL), training_flops [FLOPs], images_per_second, peak_memory
    [bytes] and train_images. Rows at equal FLOPs are those with other images than the convolution; without it, than
    most.

    frame: of a RunSet."""
    table = study_table(frame, planned)
    spent = frame.assign(training_flops=training_flops(frame))
    table = table.merge(spent[["run_id", EMBEDDING, "training_flops", *FACTS]], on="run_id")
    keys = [table["backbone"], table["patch"]]
    plain = table["train_images"].where(table[EMBEDDING] == PLAIN).groupby(keys).transform("max")
    usual = plain.fillna(table["train_images"].max())
    table["equal"] = np.where(table["train_images"] == usual, *EQUAL)
    order = {name: number for number, name in enumerate(sorted(table[EMBEDDING].unique(), key=len))}
    first = table.assign(_order=table[EMBEDDING].map(order), _coarse=-table["patch"], _equal=table["equal"] != EQUAL[0])
    backbones = {name: number for number, name in enumerate(table["backbone"].unique())}
    first["_backbone"] = table["backbone"].map(backbones)
    keys = ["_backbone", "_coarse", "_order", "_equal", "seed"]
    return first.sort_values(keys, ignore_index=True).drop(columns=keys[:4])


def comparisons(table: pd.DataFrame) -> pd.DataFrame:
    """COMPARED, a row per backbone, embedding, equal and patch [px]: change, low, high, of the loss relative to the
    convolution with its 95 % interval [1]; p, p_holm; verdict: better, worse, undecided or untested.

    table: of embedding_table. Runs at equal FLOPs are compared with the convolution on all images."""
    rows = []
    for (backbone, patch), its in table.groupby(["backbone", "patch"], sort=False):
        plain = _log_losses(its[its[EMBEDDING] == PLAIN])
        for (embedding, equal), runs in its[its[EMBEDDING] != PLAIN].groupby([EMBEDDING, "equal"], sort=False):
            if len(plain):
                found = log_difference(plain, _log_losses(runs))
                ends = [math.expm1(value) for value in (found.mean, found.low, found.high)]
                rows.append([backbone, embedding, equal, patch, *ends, found.p, math.nan, ""])
    return _decided(pd.DataFrame(rows, columns=COMPARED), "better", "worse")


def slopes(table: pd.DataFrame) -> pd.DataFrame:
    """SLOPES, a row per backbone and embedding with FEWEST_PATCHES patch sizes or more in every seed: alpha, its mean
    and standard deviation over seeds [1]; change, low, high: the difference from the convolution's with its 95 %
    interval [1]; p, p_holm; verdict: steeper, flatter, undecided or untested; of the convolution nan and "".

    table: of embedding_table; rows at equal FLOPs are left out."""
    rows = []
    for backbone, its in table[table["equal"] == EQUAL[0]].groupby("backbone", sort=False):
        alphas = {str(name): _alphas(runs) for name, runs in its.groupby(EMBEDDING, sort=False)}
        plain = alphas.get(PLAIN, pd.Series(dtype=float))
        for name, its_alphas in alphas.items():
            if its_alphas.empty:
                continue
            row = [backbone, name, len(its_alphas), its_alphas.mean(), its_alphas.std()]
            if name == PLAIN or plain.empty:
                rows.append([*row, *[math.nan] * 5, ""])
                continue
            found = difference(plain, its_alphas)
            rows.append([*row, found.mean, found.low, found.high, found.p, math.nan, ""])
    return _decided(pd.DataFrame(rows, columns=SLOPES), "flatter", "steeper")


def _log_losses(runs: pd.DataFrame) -> pd.Series:
    return np.log(runs.set_index("seed")["test_loss"])


def _alphas(runs: pd.DataFrame) -> pd.Series:
    """The exponent by seed. Seeds with fewer than all of the patch sizes are left out."""
    patches = runs["patch"].nunique()
    found = {}
    for seed, its in runs.groupby("seed"):
        if len(its) == patches >= FEWEST_PATCHES:
            found[seed] = float(np.polyfit(np.log(its["patch"]), np.log(its["test_loss"]), 1)[0])
    return pd.Series(found, dtype=float)


def _decided(table: pd.DataFrame, falls: str, rises: str) -> pd.DataFrame:
    """The table with p_holm and verdict. falls, rises: words for a decided change below and above 0."""
    table["p_holm"] = table.groupby("backbone", group_keys=False)["p"].apply(holm)
    signs = pd.Series(np.where(table["change"] < 0, falls, rises), table.index)
    decided = signs.where(table["p_holm"] < 1 - CONFIDENCE, "undecided").where(table["p"].notna(), "untested")
    return table.assign(verdict=decided.where(table["change"].notna(), ""))


def printed(table: pd.DataFrame) -> pd.DataFrame:
    """One backbone's rows as text for 80 columns: a row per patch size and embedding, mean and standard deviation over
    seeds."""
    rows = []
    for (patch, embedding), its in table.groupby(["patch", EMBEDDING], sort=False):
        own, equal = (its[its["equal"] == name] for name in EQUAL)
        cells = {
            "patch": str(patch),
            "tokens": f"{its['tokens'].iloc[0]:,}",
            "embedding": _short_name(str(embedding)),
            "FLOPs": short(its["flops_per_image"].iloc[0]),
            "MiB": _mean(own["peak_memory"] / 2**20, 0),
            "img/s": _mean(own["images_per_second"], 0),
            "loss [nats]": _spread(own["test_loss"]),
        }
        if (table["equal"] == EQUAL[1]).any():
            cells["same FLOPs"] = _spread(equal["test_loss"])
        if "top1" in its:
            cells["top-1"] = _mean(own["top1"], 1)
        rows.append(cells)
    return pd.DataFrame(rows)


def printed_slopes(found: pd.DataFrame) -> pd.DataFrame:
    """slopes as text for 80 columns."""
    ends = zip(found["change"], found["low"], found["high"], strict=True)
    change = ["-" if math.isnan(mean) else f"{mean:+.3f}" + _interval(low, high) for mean, low, high in ends]
    return pd.DataFrame(
        {
            "backbone": found["backbone"],
            "embedding": found["embedding"].map(_short_name),
            "alpha": [_ends(mean, sd) for mean, sd in zip(found["alpha"], found["sd"], strict=True)],
            "minus that of conv": change,
            "verdict": found["verdict"].replace("", "-"),
        }
    )


def sentences(found: pd.DataFrame, by_slope: pd.DataFrame) -> Iterator[str]:
    """The verdicts: for each backbone, embedding and equal the patch sizes at which it is better, worse or undecided;
    and whether the exponent depends on the embedding. found: of comparisons; by_slope: of slopes."""
    for (backbone, embedding, equal), its in found.groupby(["backbone", "embedding", "equal"], sort=False):
        by_verdict = its.groupby("verdict", sort=False)["patch"]
        at = (f"{verdict} at {', '.join(map(str, patches))} px" for verdict, patches in by_verdict)
        yield f"{backbone}, {embedding} against {PLAIN} at equal {equal}: {'; '.join(at)}."
    for backbone, its in by_slope[by_slope["embedding"] != PLAIN].groupby("backbone", sort=False):
        verdicts = ", ".join(f"{row.embedding} {row.verdict or 'untested'}" for row in its.itertuples())
        yield f"{backbone}, alpha over patch sizes against {PLAIN}: {verdicts}."


def _short_name(embedding: str) -> str:
    return embedding.replace("conv, embed_init ", "")


def _mean(values: pd.Series, decimals: int) -> str:
    return f"{values.mean():,.{decimals}f}" if len(values) else "-"


def _spread(values: pd.Series) -> str:
    return _ends(values.mean(), values.std()) if len(values) else "-"


def _ends(mean: float, sd: float) -> str:
    return f"{mean:.3f}" + ("" if math.isnan(sd) else f" ± {sd:.3f}")


def _interval(low: float, high: float) -> str:
    return "" if math.isnan(low) else f" [{low:+.3f}, {high:+.3f}]"
