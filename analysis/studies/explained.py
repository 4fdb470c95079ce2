"""Explained: how much of a lower loss tokens, FLOPs and information explain, each with the others held equal.

With smaller patches a model has more tokens, spends more FLOPs and sees finer pixels. Table 5's runs separate them: the
run by extending has the tokens and (nearly) the FLOPs of the run by scaling, but only the pixels that the coarse patch
embedding lets through. So

    coarse patch -> by extending     more tokens and FLOPs, no more information
    by extending -> by scaling       more information, equal tokens and FLOPs

Figure 3's runs have a third: a larger model at a coarser patch beside a smaller one at a finer patch, at equal FLOPs.
Differences are of log loss, paired over seeds where both have the same ones (analysis/records/patch_tests.py).
"""

import math

import numpy as np
import pandas as pd

from analysis.records.patch_tests import log_difference
from analysis.records.seed_noise import Difference

EQUAL = 1.25  # largest ratio of FLOPs that are called equal


def explained(table: pd.DataFrame) -> pd.DataFrame:
    """For table5, as text: a row per backbone and number of tokens above the coarsest, with the change of the loss [%]
    by tokens and FLOPs alone, and by information alone, with 95 % intervals where there are seeds; FLOPs: those of the
    run by extending over those by scaling [1].

    table: of study_table. Rows where one of the three runs is missing are left out."""
    rows = []
    for (backbone, image), its in table.groupby(["backbone", "image"], sort=False):
        scaled = {int(str(patch)): runs for patch, runs in its[its["extend"] == 0].groupby("patch")}
        for (start, patch), longer in its[its["extend"] > 0].groupby(["extend", "patch"], sort=False):
            if start not in scaled or patch not in scaled:
                continue
            coarse, finer = scaled[start], scaled[patch]
            ratio, few, many = _flops(longer) / _flops(finer), coarse["tokens"].iloc[0], longer["tokens"].iloc[0]
            rows.append(
                {
                    "image": image,
                    "tokens": f"{backbone} from {few} to {many}",
                    "FLOPs": f"x {ratio:.2f}",
                    "tokens, FLOPs [%]": _percent(_compared(coarse, longer)),
                    "information [%]": _percent(_compared(longer, finer)),
                }
            )
    found = pd.DataFrame(rows)
    if found.empty:
        return found
    if found["image"].nunique() > 1:
        found["tokens"] += found["image"].map(" at {} px".format)
    return found.drop(columns="image")


def equal_flops(table: pd.DataFrame) -> pd.DataFrame:
    """For figure3, as text: a row per pair of a smaller model at a finer patch and a larger model at a coarser one,
    whose FLOPs differ by a factor of EQUAL or less, with the change of the loss [%] from the second to the first.

    table: of study_table. Pairs are of one family and one image size."""
    rows = []
    family = table["backbone"].str.split("_").str[0]
    for (_, _), its in table.groupby([family, "image"], sort=False):
        cells = [(str(b), int(str(p)), runs) for (b, p), runs in its.groupby(["backbone", "patch"], sort=False)]
        size = its.groupby("backbone")["parameters"].max()
        for small, fine, first in cells:
            for large, coarse, second in cells:
                ratio = _flops(first) / _flops(second)
                if size[small] < size[large] and fine < coarse and 1 / EQUAL <= ratio <= EQUAL:
                    pair, change = f"{small} at p{fine}, not {large} at p{coarse}", _compared(second, first)
                    rows.append({"finer, not larger": pair, "FLOPs": f"x {ratio:.2f}", "change [%]": _percent(change)})
    return pd.DataFrame(rows)


def _compared(first: pd.DataFrame, second: pd.DataFrame) -> Difference:
    """The change of log loss from the first runs to the second."""
    a, b = (np.log(runs.set_index("seed")["test_loss"]) for runs in (first, second))
    return log_difference(a, b)


def _flops(runs: pd.DataFrame) -> float:
    return float(runs["flops_per_image"].mean())


def _percent(found: Difference) -> str:
    """The relative change and, where there is a test, its 95 % interval [%]."""
    ends = found[:3] if found.test else found[:1]
    mean, *interval = (f"{100 * math.expm1(value):+.0f}" for value in ends)
    return f"{mean} [{', '.join(interval)}]" if interval else mean
