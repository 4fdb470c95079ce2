"""How often the 95 % intervals of L(p, D) hold the truth, in sets of runs whose law is known.

curves  one length, six test losses a run at doublings of the images seen, of which all are fitted
ends    runs of three lengths, of which the test losses at their ends are fitted
Five patch sizes; errors of log L: a deviation of each run and one of each test loss.
analysis/measured/coverage_images.csv holds the numbers.
"""

import numpy as np
import pandas as pd
from rich.table import Table

from analysis.fitting.undertraining import fit_patch_images
from analysis.records.curve_points import ends
from experiments.benchmarks.laws import PATCH

SETS, DRAWS = 500, 400
OF_RUNS, WITHIN = 0.02, 0.01  # standard deviations of log L between runs and within one [1]
TRUTH = {"E": 0.3, "A": 60.0, "a": 0.5, "B": 0.15, "b": 0.6}  # E + A D^-a + B p^b
NAMES = {"E": "E", "A": "B", "a": "beta", "B": "A", "b": "alpha"}  # as printed by fit_laws.py --axes
SHARES = (16, 1)  # patches [px]
IMAGES = 2e4 * 2.0 ** np.arange(6)  # seen at the test losses of the longest runs
CASES = [("curves", 3), ("curves", 2), ("ends", 3), ("ends", 2), ("ends", 1)]
COLUMNS = ("points", "seeds", *NAMES.values(), *(f"share, patch {p}" for p in SHARES))


def coverage_images() -> Table:
    """Of SETS sets of runs, how many 95 % intervals of each parameter, and of the share of L - E that more images
    remove, hold the truth [%]."""
    table = Table(*COLUMNS, title=f"of {SETS} sets of runs, how many 95 % intervals of L(p, D) hold the truth [%]")
    for case in CASES:
        table.add_row(*row_of(*case))
    return table


def row_of(points: str, seeds: int, sets: int = SETS) -> list[str]:
    """The cells of one case."""
    shares = {f"share {p}": removed(p) for p in SHARES}
    truth = {**TRUTH, **shares}
    held = []
    for number in range(sets):
        made = (
            runs_of(number, seeds, lengths=(6,)) if points == "curves" else ends(runs_of(number, seeds, (2, 4, 6)))[0]
        )
        found = fit_patch_images(made, draws=DRAWS, seed=number)
        intervals = [found.interval(name) or (np.nan, np.nan) for name in truth]
        held.append([low <= value <= high for (low, high), value in zip(intervals, truth.values(), strict=True)])
    return [points, str(seeds), *(f"{100 * share:.1f}" for share in np.mean(held, axis=0))]


def runs_of(number: int, seeds: int, lengths: tuple[int, ...]) -> pd.DataFrame:
    """The columns of curve_points, for runs of so many test losses each."""
    rng, rows = np.random.default_rng(number), []
    for patch in PATCH:
        for length in lengths:
            for seed in range(seeds):
                images_M = IMAGES[:length]
                off_M = rng.normal(0, OF_RUNS) + rng.normal(0, WITHIN, length)
                y_M = (TRUTH["E"] + _images_term(images_M) + TRUTH["B"] * patch ** TRUTH["b"]) * np.exp(off_M)
                name = f"{patch:g}-{length}-{seed}"
                rows += [[name, "g", patch, seed, D, D / images_M[-1], y] for D, y in zip(images_M, y_M, strict=True)]
    return pd.DataFrame(rows, columns=["run_id", "group", "patch", "seed", "images", "share", "y"])


def _images_term(images: np.ndarray) -> np.ndarray:
    return np.asarray(TRUTH["A"] * images ** -TRUTH["a"])


def removed(patch: float) -> float:
    """The share of L - E that more images remove, after the longest runs [1]."""
    term = float(_images_term(IMAGES[-1:])[0])
    return term / (term + TRUTH["B"] * patch ** TRUTH["b"])
