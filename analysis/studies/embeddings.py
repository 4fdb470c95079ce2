"""Patch embeddings and their initialisations: each one against the plain convolution of the same backbone.

The loss is compared with that of the convolution on equal images and at equal training FLOPs, at every patch size and
in the geometric mean over all of them; so is the exponent alpha, the slope of log loss over log patch size. All are
paired over seeds. Holm's correction is for the means, and the exponents, of a backbone's embeddings, and for the patch
sizes of one embedding.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from analysis.planning.pareto import training_flops
from analysis.records.patch_tests import log_difference
from analysis.records.run_frame import EMBEDDING
from analysis.report.sweep_table import short
from analysis.studies.cell_text import spread
from analysis.studies.exponents import decided, slope_sentence, slopes
from analysis.studies.study_table import StudyRun, study_table
from scaling.config.patch_embeds import ConvPatchEmbed
from scaling.runs.record import HEADLINES

PLAIN = ConvPatchEmbed.kind
ALL = 0  # in the place of a patch size: all of them
EQUAL = ("images", "FLOPs")  # what a run has as much of as the convolution at its patch size
FACTS = ["images_per_second", "peak_memory", "train_images"]
COMPARED = ["backbone", "embedding", "equal", "patch", "change", "low", "high", "p", "p_holm", "verdict"]


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
    """COMPARED, a row per backbone, embedding, equal and patch [px; ALL: the mean over all]: change, low, high, of the
    loss relative to the convolution with its 95 % interval [1]; p, p_holm; verdict: better, worse, undecided or
    untested.

    table: of embedding_table. Runs at equal FLOPs are compared with the convolution on all images."""
    rows = []
    for backbone, its in table.groupby("backbone", sort=False):
        plain = _log_losses(its[its[EMBEDDING] == PLAIN])
        for (embedding, equal), runs in its[its[EMBEDDING] != PLAIN].groupby([EMBEDDING, "equal"], sort=False):
            ours = _log_losses(runs)
            both = [patch for patch in ours if patch in plain]
            pairs = {patch: (plain[patch].dropna(), ours[patch].dropna()) for patch in both}
            if len(both) > 1:
                pairs = {ALL: (_means(plain[both]), _means(ours[both])), **pairs}
            for patch, (theirs, own) in pairs.items():
                if len(theirs) and len(own):
                    found = log_difference(theirs, own)
                    ends = [math.expm1(value) for value in (found.mean, found.low, found.high)]
                    rows.append([backbone, embedding, equal, patch, *ends, found.p, math.nan, ""])
    found_rows = pd.DataFrame(rows, columns=COMPARED)
    of_means = found_rows["patch"] == ALL
    families = found_rows[["embedding", "equal"]].agg(" ".join, axis=1).mask(of_means, "")
    return decided(found_rows, families, "better", "worse")


def by_embedding(table: pd.DataFrame) -> pd.DataFrame:
    """slopes (exponents.py) of the embeddings, on equal images. table: of embedding_table."""
    return slopes(table[table["equal"] == EQUAL[0]], EMBEDDING, PLAIN)


def _log_losses(runs: pd.DataFrame) -> pd.DataFrame:
    """Log losses, a row per seed and a column per patch size from coarse to fine."""
    return np.log(runs.pivot(index="seed", columns="patch", values="test_loss")).sort_index(axis=1, ascending=False)


def _means(log_losses: pd.DataFrame) -> pd.Series:
    """Means over patch sizes by seed, of the seeds that have all."""
    return log_losses.dropna().mean(axis=1)


def printed_costs(table: pd.DataFrame) -> pd.DataFrame:
    """What one backbone costs with each embedding, as text for 80 columns: runs on equal images, means over seeds."""
    rows = []
    for (patch, embedding), its in table[table["equal"] == EQUAL[0]].groupby(["patch", EMBEDDING], sort=False):
        rows.append(
            {
                "patch": str(patch),
                "tokens": f"{its['tokens'].iloc[0]:,}",
                "embedding": short_name(str(embedding)),
                "FLOPs": short(its["flops_per_image"].iloc[0]),
                "memory [MiB]": _mean(its["peak_memory"] / 2**20, 0),
                "images/s": _mean(its["images_per_second"], 0),
            }
        )
    return pd.DataFrame(rows)


def printed_losses(table: pd.DataFrame) -> pd.DataFrame:
    """One backbone's losses as text for 80 columns, mean and standard deviation over seeds; on equal images, with the
    headline metric, and at the training FLOPs of the convolution."""
    metrics = {name: words for name, words in HEADLINES.values() if name in table}
    rows = []
    for (patch, embedding), its in table.groupby(["patch", EMBEDDING], sort=False):
        own, equal = (its[its["equal"] == name] for name in EQUAL)
        cells = {
            "patch": str(patch),
            "embedding": short_name(str(embedding)),
            "loss [nats]": _spread(own["test_loss"]),
        }
        cells |= {f"{words} [%]": _mean(own[name], 1) for name, words in metrics.items()}
        if (table["equal"] == EQUAL[1]).any():
            cells["at equal FLOPs"] = _spread(equal["test_loss"])
        rows.append(cells)
    return pd.DataFrame(rows)


def sentences(found: pd.DataFrame, by_slope: pd.DataFrame) -> Iterator[str]:
    """The verdicts: for each backbone, embedding and equal the change over all patch sizes, and the patch sizes at
    which it is better, worse or undecided; and whether the exponent depends on the embedding. found: of comparisons;
    by_slope: of by_embedding."""
    for (backbone, embedding, equal), its in found.groupby(["backbone", "embedding", "equal"], sort=False):
        whole, single = its[its["patch"] == ALL], its[its["patch"] != ALL]
        by_verdict = single.groupby("verdict", sort=False)["patch"]
        words = [f"{verdict} at {', '.join(map(str, patches))} px" for verdict, patches in by_verdict]
        ends = zip(whole["change"], whole["low"], whole["high"], whole["verdict"], strict=True)
        words = [f"loss {_percent(mean, low, high)}, {verdict}" for mean, low, high, verdict in ends] + words
        yield f"{backbone}, {_named(embedding)} against {PLAIN} at equal {equal}: {'; '.join(words)}."
    for backbone, its in by_slope.groupby("backbone", sort=False):
        yield slope_sentence(backbone, its, EMBEDDING, PLAIN, _named)


def _named(embedding: object) -> str:
    return str(embedding).removeprefix(f"{PLAIN}, ")


def _percent(mean: float, low: float, high: float) -> str:
    interval = "" if math.isnan(low) else f" [{100 * low:+.1f}, {100 * high:+.1f}]"
    return f"{100 * mean:+.1f} %{interval}"


def short_name(embedding: str) -> str:
    return embedding.replace("conv, embed_init ", "")


def _mean(values: pd.Series, decimals: int) -> str:
    return f"{values.mean():,.{decimals}f}" if len(values) else "-"


def _spread(values: pd.Series) -> str:
    return spread(values, 3) if len(values) else "-"
