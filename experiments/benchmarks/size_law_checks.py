"""How often intervals of L(N, p, D) and of what is derived from it contain the truth, on runs whose law is known.

Four model sizes (of form joint one), four patch sizes, three lengths and two seeds; errors of log L with a standard
deviation of 1 %. The best patch size of a budget is that of the true law among the same configurations.
"""

import itertools
from collections import defaultdict

import numpy as np
import pandas as pd
from rich.table import Table

from analysis.fitting.model import FORMS
from analysis.fitting.model_patch_images import AT, OF_ONE_MODEL, SizeLaw, fit_one_model, fit_sizes
from analysis.planning.isoflop import best_patches, directions, isoflop, place_of
from scaling.costs.run_flops import STEP_PASSES

SETS, DRAWS, NOISE = 200, 400, 0.01
TRUTHS = {
    "additive": {"E": 0.2, "A": 30.0, "a": 0.4, "B": 0.1, "b": 0.7, "C": 40.0, "c": 0.5},
    "surface": {"A": 20.0, "a": 0.1, "c": 0.2, "B": 20.0, "b": 0.7, "d": 0.25, "e": 0.15},
    "joint": {"E": 0.9, "A": 40.0, "a": 0.5, "B": 0.1, "b": 0.7},  # of one model
}
TOKENS = 256  # at patch 1


def law(form: str, at: pd.DataFrame) -> np.ndarray:
    """The true loss at each row of a frame with columns AT."""
    x = (at[name].to_numpy(float) for name in (OF_ONE_MODEL if form == "joint" else AT))
    return np.asarray(FORMS[form].law(*x, **TRUTHS[form]), np.float64)


def synthetic(form: str, seed: int, noise: float = NOISE, seeds: int = 2, sizes: int = 4) -> pd.DataFrame:
    """Runs as size_points has them, of models of 1e4, 4e4, ... parameters, with 2 N FLOPs per token."""
    sizes = 1 if form == "joint" else sizes
    grid = list(itertools.product(1e4 * 4.0 ** np.arange(sizes), (16.0, 8, 4, 2), (4e3, 1.6e4, 6.4e4), range(seeds)))
    runs = pd.DataFrame(grid, columns=[*AT, "seed"])
    runs["model"] = [f"m{N:g}" for N in runs["parameters"]]
    runs["flops_per_image"] = 2 * runs["parameters"] * TOKENS / runs["patch"] ** 2
    runs["training_flops"] = STEP_PASSES * runs["flops_per_image"] * runs["images"]
    errors = noise * np.random.default_rng(seed).normal(size=len(runs))
    return runs.assign(y=law(form, runs) * np.exp(errors))


def coverage() -> Table:
    """Shares [%] of 95 % intervals that contain the truth, a column per true law, and how often each form is selected.
    Parameters: of the data sets in which the true form was selected."""
    found = {form: coverage_of(form) for form in TRUTHS}
    names = list(dict.fromkeys(name for its in found.values() for name in its))
    table = Table("interval of", *found, title=f"of {SETS} sets of runs, how many intervals hold the truth [%]")
    for name in names:
        cells = (f"{100 * np.mean(its[name]):.1f}" if name in its else "-" for its in found.values())
        table.add_row(name, *cells)
    return table


def coverage_of(form: str) -> dict[str, list[bool]]:
    """Whether each interval of each data set holds the truth."""
    held: dict[str, list[bool]] = defaultdict(list)
    for number in range(SETS):
        fit = fit_one_model if form == "joint" else fit_sizes
        found = fit(synthetic(form, number), draws=DRAWS, seed=number)
        right = found.law.form == form
        held["(form selected)"].append(right)
        if right:
            for name, (low, high) in found.draws.intervals().items():
                held[name].append(low <= TRUTHS[form][name] <= high)
        place = place_of(found.points)
        steps, best = directions(found, place), best_patches(isoflop(found))
        for name, holds in zip(steps["direction"], _hold(steps, "low", "high", true_changes(form, found)), strict=True):
            held[name].append(holds)
        held["best patch size"] += _hold(best, "finest", "coarsest", true_best(form, found))
    return held


def _hold(table: pd.DataFrame, low: str, high: str, true: list[float]) -> list[bool]:
    """Whether each row's interval holds its true value."""
    return [bool(holds) for holds in (table[low] <= true) & (table[high] >= true)]


def true_changes(form: str, found: SizeLaw) -> list[float]:
    """By the true law the changes of the loss that `directions` estimates: twice the parameters (not of one model),
    twice the images, a patch smaller by the square root of 2, each of which is twice the FLOPs of these runs."""
    place = place_of(found.points)
    steps = [("parameters", 2.0), ("images", 2.0), ("patch", 0.5**0.5)][form == "joint" :]
    at = pd.DataFrame([place[list(AT)]] * (len(steps) + 1), dtype=float).reset_index(drop=True)
    for row, (column, factor) in enumerate(steps, 1):
        at.loc[row, column] *= factor
    loss = law(form, at)
    return [float(value) for value in loss[1:] - loss[0]]


def true_best(form: str, found: SizeLaw) -> list[float]:
    """By the true law the best patch size [px] of each budget, of the same configurations: brute force."""
    points, best = found.points, []
    low, high = points["images"].min() / 2, points["images"].max() * 2
    for budget in np.unique(isoflop(found)["budget"]):
        can = points.drop_duplicates(["model", "patch"]).copy()
        can["images"] = budget / STEP_PASSES / can["flops_per_image"]
        can = can[(can["images"] >= low) & (can["images"] <= high)]
        best.append(float(can["patch"].iloc[int(np.argmin(law(form, can)))]))
    return best
