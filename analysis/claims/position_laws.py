"""Estimates of claims on position encodings at the size of training (study E1), from position_laws_shapes.csv in
analysis/measured: a row per run, five seeds. Losses [nats] of one kind less those of another, at one patch size, with
Holm's correction for the kinds of a backbone, all of which are compared with sine-cosine positions there."""

from collections.abc import Callable, Sequence

import pandas as pd

from analysis.claims.measured import NAMES, measured
from analysis.claims.paired import compare, with_holm
from analysis.claims.verdict import Estimate

PLAIN = "sincos"
SMALL = (2, 1)  # "small patches" of the claim on 1-D sinusoids [px]
SEVERAL = (8, 4, 2, 1)  # patches of which an image of 16 px has several [px]


def over_sincos(runs: pd.DataFrame, kind: str, patches: Sequence[int]) -> list[Estimate]:
    """Loss with a kind of positions less that with 2-D sinusoids, for each backbone and patch size [px]."""
    found = []
    for backbone, its in runs.groupby("backbone", sort=False):
        for patch in (patch for patch in patches if (its["patch"] == patch).any()):
            of_kind = {
                str(name): one.set_index("seed")["test_loss"]
                for name, one in its[its["patch"] == patch].groupby("positions")
            }
            family = {name: compare(of_kind[PLAIN], losses) for name, losses in of_kind.items() if name != PLAIN}
            what = f"{NAMES[str(backbone)]}, {patch} px: {kind} less {PLAIN}"
            found.append(with_holm(family)[kind]._replace(what=what))
    return found


def sincos_over_learned(runs: pd.DataFrame) -> list[Estimate]:
    """Loss with 2-D sinusoids less that with learned positions, at patch sizes of which an image has several."""
    return [
        Estimate(one.what.replace("learned less sincos", "sincos less learned"), -one.value, -one.high, -one.low)
        for one in over_sincos(runs, "learned", SEVERAL)
    ]


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    "sincos1d_over_sincos": lambda: over_sincos(measured("position_laws_shapes"), "sincos1d", SMALL),
    "sincos_over_learned": lambda: sincos_over_learned(measured("position_laws_shapes")),
}
