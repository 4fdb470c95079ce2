"""Estimates of claims on gradients by patch size, from analysis/measured/gradients_shapes.csv and
gradient_steps_shapes.csv: flexible models at the start and at the end of training, a row per seed."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from analysis.claims.measured import NAMES, measured, of_ratio, of_values
from analysis.claims.verdict import Estimate

WEIGHTS = {"start": "at the start", "end": "at the end"}


def norm_by_patch() -> list[Estimate]:
    """Norm of the gradient of a step (root of its mean square), the largest over the smallest among patch sizes of a
    seed [x]."""
    batch = measured("gradient_steps_shapes")["batch"].iloc[0]
    found = []
    for what, runs in _cases("gradients_shapes"):
        norm = np.sqrt(runs["grad_signal"] + runs["grad_noise"] / batch)
        of_seed = norm.groupby(runs["seed"])
        found.append(of_values(what, of_seed.max() / of_seed.min()))
    return found


def finest_over_coarsest(reading: str) -> list[Estimate]:
    """A variance at the smallest patch size over that at the largest, a geometric mean over seeds [x]. reading:
    grad_noise, of an image, or token_noise, of a token."""
    found = []
    for what, runs in _cases("gradients_shapes"):
        coarse, fine = (
            runs[runs["patch"] == patch].set_index("seed") for patch in (max(runs["patch"]), min(runs["patch"]))
        )
        found.append(of_ratio(what, coarse[reading], fine[reading]))
    return found


def mixed_over_drawn() -> list[Estimate]:
    """Variance of the gradient of a step with a patch size drawn for each image, over that with one drawn for each step
    [x]."""
    cases = _cases("gradient_steps_shapes")
    return [
        of_ratio(what, *(runs.set_index("seed")[f"drawn_per_{of}"] for of in ("step", "image"))) for what, runs in cases
    ]


def _cases(name: str) -> Iterator[tuple[str, pd.DataFrame]]:
    for (backbone, weights), runs in measured(name).groupby(["backbone", "weights"], sort=False):
        yield f"{NAMES[str(backbone)]}, {WEIGHTS[str(weights)]}", runs


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    "gradient_norm_by_patch": norm_by_patch,
    "token_noise_by_patch": lambda: finest_over_coarsest("token_noise"),
    "image_noise_by_patch": lambda: finest_over_coarsest("grad_noise"),
    "mixed_over_drawn": mixed_over_drawn,
}
