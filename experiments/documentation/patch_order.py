"""Tables of the order of patch sizes in docs/flexible.md and docs/schedules.md, and of changes of positions."""

import pandas as pd

from analysis.studies import changes, directions, order_by_patch, patch_order, position_changes
from experiments.documentation.data import grouped, numbers

GROUP = ("data", "backbone")


def curves(data: str) -> pd.DataFrame:
    """The curves of the runs on a data set, as analysis/studies/patch_order.py has them."""
    measured = numbers("patch_order")
    return measured[measured["data"] == data].reset_index(drop=True)


def ends() -> list[str]:
    """A row per order of patch sizes and length: its cost and its loss at the smallest patch size."""
    return grouped(numbers("patch_order"), GROUP, patch_order.printed, left=range(3))


def compared() -> list[str]:
    """A row per order of patch sizes: its loss against that of the smallest patch size alone at equal cost."""
    runs = numbers("patch_order")
    return grouped(runs, GROUP, lambda its: patch_order.compared(patch_order.comparisons(its)), left=range(5))


def by_patch(data: str) -> list[str]:
    """A row per order and length of runs on a data set: its loss at every patch size."""
    runs = numbers("orders")
    return grouped(runs[runs["data"] == data], GROUP, order_by_patch.printed_by_patch, left=range(3))


def small_and_large_first() -> list[str]:
    """A row per pair of opposite orders and patch size: the difference of their losses."""
    runs = numbers("orders")
    printed = directions.printed_directions
    return grouped(runs, GROUP, lambda its: printed(directions.directions(its)), left=(0, 1, 2, 4, 5))


def at_changes() -> list[str]:
    """A row per schedule and change of the patch size or image side: the gap and the spike of the loss."""
    return grouped(numbers("shape_changes"), GROUP, changes.printed_changes, left=range(4))


def of_positions() -> list[str]:
    """A row per encoding and change of the patch size: the gap and the spike of the loss."""
    return grouped(numbers("position_changes_shapes"), ["backbone"], changes.printed_changes, left=(0, 1, 2))


def against_no_positions() -> list[str]:
    """A row per encoding and change of the patch size: how much larger gap and spike are than without positions."""
    compared = position_changes.comparisons(numbers("position_changes_shapes"))
    return grouped(compared, ["backbone"], position_changes.compared, left=range(5))
