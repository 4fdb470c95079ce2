"""Estimates of claims on what a flexible model learns from a teacher and carries to finer patches: DeiT-nano on shapes,
three seeds, from distillation_shapes.csv and coarse_tuning_shapes.csv in analysis/measured. Losses [nats], paired over
seeds."""

from collections.abc import Callable

import pandas as pd

from analysis.claims.measured import measured
from analysis.claims.paired import paired
from analysis.claims.verdict import Estimate

TUNED_AT = 8  # px


def taught_over_labels(runs: pd.DataFrame) -> list[Estimate]:
    """Loss of students that begin with the teacher's weights and learn from its logits, less that of students that have
    no teacher, at every patch size. runs: loss, start, patch, seed, test_loss."""
    taught = _of(runs, loss="teacher's logits", start="teacher's")
    alone = _of(runs, loss="labels", start="random")
    return [paired(f"DeiT-nano, {patch} px", alone[patch], taught[patch]) for patch in sorted(alone, reverse=True)]


def finer_over_tuned(runs: pd.DataFrame) -> list[Estimate]:
    """Loss of a flexible model at finer patches less that at the patch size that it was tuned at last. runs: start,
    when, patch, seed, test_loss."""
    tuned = _of(runs, start="flexible", when="tuned")
    finer = sorted((patch for patch in tuned if patch < TUNED_AT), reverse=True)
    return [paired(f"DeiT-nano, {patch} less {TUNED_AT} px", tuned[TUNED_AT], tuned[patch]) for patch in finer]


def _of(runs: pd.DataFrame, **way: str) -> dict[int, pd.Series]:
    """Test losses by seed, at each patch size, of the runs whose columns have these values."""
    its = runs[(runs[list(way)] == pd.Series(way)).all(axis=1)]
    return {int(str(patch)): one.set_index("seed")["test_loss"] for patch, one in its.groupby("patch")}


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    "taught_over_labels": lambda: taught_over_labels(measured("distillation_shapes")),
    "finer_over_tuned": lambda: finer_over_tuned(measured("coarse_tuning_shapes")),
}
