"""Estimates of claims on growing crops (PGPS), from growing_crops_shapes.csv and class_shares.csv."""

from collections.abc import Callable

import pandas as pd

from analysis.claims.measured import measured, of_difference, of_ratio, of_values
from analysis.claims.verdict import Estimate
from analysis.studies.patch_order import ALONE

WHAT = "shapes, segmentation, Adventurer-nano"
LABELLED = {"shapes": "shapes", "camvid": "CamVid"}
BALANCE = "balance"  # a row of class_shares.csv that is no class
GROWING = "crop 0.5@"  # how the name of growing crops begins


def growing_time() -> list[Estimate]:
    """Seconds of training with growing crops over those with as many whole images [x]."""
    whole, growing = _of_as_many_images()
    return [of_ratio(WHAT, whole["seconds"], growing["seconds"])]


def growing_accuracy() -> list[Estimate]:
    """mIoU with growing crops less that with as many whole images [points]."""
    whole, growing = _of_as_many_images()
    return [of_difference(WHAT, whole["miou"], growing["miou"])]


def _of_as_many_images() -> tuple[pd.DataFrame, pd.DataFrame]:
    runs = measured("growing_crops_shapes")
    growing = runs[runs["order"].str.startswith(GROWING)].set_index("seed")
    whole = runs[runs["order"].str.endswith(ALONE) & runs["images"].isin(growing["images"])]
    return whole.set_index("seed"), growing


def rarest_share() -> list[Estimate]:
    """Share of the pixels that the rarest class of whole images has in crops of half the side, over that share [x]."""
    found = []
    for data, its in measured("class_shares").groupby("data", sort=False):
        its = its[its["class"] != BALANCE]
        rarest = its[its["crop"] == 1].groupby("class")["share"].mean().idxmin()
        half = its[(its["class"] == rarest) & (its["crop"] == 0.5)]
        found.append(of_values(f"{LABELLED[str(data)]}, {rarest}", half.set_index("seed")["ratio"]))
    return found


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    "growing_crops_time": growing_time,
    "growing_crops_accuracy": growing_accuracy,
    "rarest_class_in_crops": rarest_share,
}
