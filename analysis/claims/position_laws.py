"""Estimates of claims on position encodings at the size of training (study E1), from position_laws_shapes.csv and
position_laws_cifar10.csv in analysis/measured: a row per run, three seeds. Losses [nats] of one kind less those of
another, at one patch size, with Holm's correction for the kinds of a backbone, all of which are compared with
sine-cosine positions there."""

from collections.abc import Callable

import pandas as pd

from analysis.claims.measured import NAMES, measured
from analysis.claims.paired import compare, with_holm
from analysis.claims.verdict import Estimate

PLAIN = "sincos"
# Patches that an image has at least,
SMALL = 64  # where they are the "small patches" of the claim on 1-D sinusoids
SEVERAL = 4  # where it has several


def over_sincos(runs: pd.DataFrame, kind: str, fewest: int) -> list[Estimate]:
    """Loss with a kind of positions less that with 2-D sinusoids, for each backbone and patch size of which an image
    has so many patches at least."""
    found = []
    with_enough = runs[(runs["image"] // runs["patch"]) ** 2 >= fewest]
    for backbone, its in with_enough.groupby("backbone", sort=False):
        for patch in its["patch"].drop_duplicates().sort_values(ascending=False):
            of_kind = {
                str(name): one.set_index("seed")["test_loss"]
                for name, one in its[its["patch"] == patch].groupby("positions")
            }
            family = {name: compare(of_kind[PLAIN], losses) for name, losses in of_kind.items() if name != PLAIN}
            what = f"{NAMES[str(backbone)]}, {patch} px: {kind} less {PLAIN}"
            found.append(with_holm(family)[kind]._replace(what=what))
    return found


def sincos_over_learned(runs: pd.DataFrame) -> list[Estimate]:
    """Loss with 2-D sinusoids less that with learned positions, at patch sizes of which an image has SEVERAL."""
    return [
        Estimate(one.what.replace("learned less sincos", "sincos less learned"), -one.value, -one.high, -one.low)
        for one in over_sincos(runs, "learned", SEVERAL)
    ]


def _of(data: str) -> dict[str, Callable[[], list[Estimate]]]:
    """data: the end of the file's name."""
    runs = f"position_laws_{data}"
    return {
        "sincos1d_over_sincos": lambda: over_sincos(measured(runs), "sincos1d", SMALL),
        "sincos_over_learned": lambda: sincos_over_learned(measured(runs)),
    }


ESTIMATES, ON_CIFAR10 = _of("shapes"), _of("cifar10")
