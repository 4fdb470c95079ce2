"""Tables of growing crops in docs/schedules.md: runs on shapes, and shares of classes in crops."""

import pandas as pd

from analysis.studies import patch_order
from analysis.studies.cell_text import spread
from experiments.class_shares import BALANCE
from experiments.documentation.data import grouped, numbers

RAREST = 5
CROPS = (0.25, 0.5, 0.75)  # shares of the side


def ends() -> list[str]:
    """A row per schedule of crops and length: its cost, and loss and mIoU on whole images."""
    return grouped(numbers("growing_crops_shapes"), ["backbone"], patch_order.printed, left=(0, 1))


def shares() -> list[str]:
    """A row per class, of the RAREST of a data set: its share of the pixels in whole images, and that in crops."""
    return grouped(numbers("class_shares"), ["data"], _of_data, left=(0, 1))


def _of_data(table: pd.DataFrame) -> pd.DataFrame:
    whole = table[table["crop"] == 1].groupby("class")["share"].mean()
    rows = []
    for name in [*whole.drop(BALANCE).nsmallest(RAREST).index[::-1], BALANCE]:
        its = table[table["class"] == name]
        of_crop = dict(iter(its.groupby("crop")))
        ratios = {
            f"{crop:g} of the side [x]": spread(of_crop[crop]["ratio"], 2) if crop in of_crop else "" for crop in CROPS
        }
        rows.append({"class": name, "whole images [%]": spread(100 * of_crop[1.0]["share"], 2), **ratios})
    return pd.DataFrame(rows)
