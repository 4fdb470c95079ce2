"""Estimates of claims on the number of training images (study E11), from images_by_patch_shapes.csv in
analysis/measured: a row per run, equal steps, three seeds."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from analysis.claims.measured import NAMES, measured
from analysis.claims.paired import mean_of
from analysis.claims.verdict import Estimate


def interaction(runs: pd.DataFrame) -> list[Estimate]:
    """Coefficient of log n log p in log L = a + b log n + c log p + d log n log p, by least squares for each seed [1].
    Above 0: L falls faster with smaller patches p where there are more images n. runs: backbone, patch [px],
    train_images, seed, test_loss."""
    found = []
    for backbone, its in runs.groupby("backbone", sort=False):
        by_seed = pd.Series({seed: _interaction(one) for seed, one in its.groupby("seed")})
        found.append(mean_of(NAMES[str(backbone)], by_seed))
    return found


def _interaction(runs: pd.DataFrame) -> float:
    """runs: of one seed."""
    log_n, log_p = np.log(runs["train_images"]), np.log(runs["patch"])
    terms = np.column_stack([np.ones(len(runs)), log_n, log_p, log_n * log_p])
    return float(np.linalg.lstsq(terms, np.log(runs["test_loss"]))[0][-1])


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    "images_and_patches": lambda: interaction(measured("images_by_patch_shapes")),
}
