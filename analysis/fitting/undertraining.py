"""L(p, D) = E + A p^alpha + B D^-beta: loss by patch side p [px] and images seen D, and the share of under-training.

The points of one run's curve are correlated: a seed that is good at one step is good at the next. So intervals come
from a bootstrap of whole runs (blocks; Davison and Hinkley 1997, Bootstrap Methods and their Application, 3.8): the
deviations of a run from the mean of its patch size and length, stretched by sqrt(n / (n - 1)), are drawn from all runs,
times sqrt(f / chi^2_f) for their f degrees of freedom as in bootstrap.py. That needs two runs or more at every patch
size and length. Ends of runs are independent, so single ones have the parametric bootstrap of bootstrap.py.
Source of the law: arXiv 2203.15556, section 3.3, with a patch in the place of a model.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from analysis.fitting.bootstrap import bootstrap, percentile_intervals, refit
from analysis.fitting.laws import Fit, fit2
from analysis.fitting.minimizer import Array

FEWEST_RUNS = 2  # at every patch size and length, for intervals


@dataclass(frozen=True)
class PatchImagesLaw:
    """law: E + A D^-a + B p^b of x1 = D and x2 = p. draws: refits, a row each, columns as law.parameters and
    "share PATCH"; empty where a patch size and length has a single run, of which more than the end was fitted."""

    law: Fit
    shares: dict[float, float]  # by patch: what A D^-a makes of L - E at the largest D [1]
    draws: pd.DataFrame

    def interval(self, name: str, confidence: float = 0.95) -> tuple[float, float] | None:
        """Percentile interval of a parameter or of a share; None where there are no draws."""
        if self.draws.empty:
            return None
        return percentile_intervals(self.draws[[name]], confidence)[name]


def fit_patch_images(points: pd.DataFrame, draws: int = 1000, seed: int = 0) -> PatchImagesLaw:
    """Fit L(p, D) to the rows of curve_points (run_id, patch, images, y) of one group. Raises ValueError as fit2."""
    points = points.sort_values(["patch", "run_id", "images"], ignore_index=True)
    law = fit2(points["images"], points["patch"], points["y"], "joint")
    patches, most = sorted(map(float, points["patch"].unique())), float(points["images"].max())
    shares = {p: float(_share(law, law.theta_K[None], most, p)[0]) for p in patches}
    problem = law.problem
    if _fewest_alike(points) >= FEWEST_RUNS:
        y_SN = _resampled(points, law, draws, np.random.default_rng(seed))
        theta_SK, converged_S = refit(law, (problem.z_VN - problem.pivot_V[:, None])[None], y_SN)
        theta_SK = theta_SK[converged_S]
    elif points["run_id"].is_unique and problem.df > 0:
        theta_SK = bootstrap(law, draws=draws, seed=seed).theta_SK
    else:
        return PatchImagesLaw(law, shares, pd.DataFrame())
    natural_SK = [problem.natural(theta_K) for theta_K in theta_SK]
    table = pd.DataFrame(natural_SK, columns=list(problem.shape.names))
    for p in patches:
        table[f"share {p:g}"] = _share(law, theta_SK, most, p)
    return PatchImagesLaw(law, shares, table)


def _fewest_alike(points: pd.DataFrame) -> int:
    """The smallest number of runs of one patch size that were evaluated at the same numbers of images seen."""
    cells = points.groupby("run_id").agg({"patch": "first", "images": tuple})
    return int(cells.value_counts().min())


def _share(law: Fit, theta_SK: Array, images: float, patch: float) -> Array:
    """What A D^-a makes of L - E, from parameters as fitted: A itself may be beyond float64 where a is large."""
    longer, shorter = np.log([images, patch]) - law.problem.pivot_V
    _, A_S, a_S, B_S, b_S = theta_SK.T
    return expit(A_S - a_S * longer - B_S - b_S * shorter)


def _resampled(points: pd.DataFrame, law: Fit, draws: int, rng: np.random.Generator) -> Array:
    """y (S, N): the law times the mean residuals of each patch size and length, times the deviations of a drawn run for
    each run. Runs with equally many points are drawn for each other, whatever their length."""
    y_SN = np.empty((draws, len(points)))
    for _, its in points.groupby(points.groupby("run_id")["y"].transform("size"), sort=True):
        blocks = [run.index.to_numpy() for _, run in its.groupby(["patch", "run_id"], sort=False)]
        cells = [(its["patch"][block[0]], *its["images"][block]) for block in blocks]
        log_RM = np.stack([law.residuals[block] for block in blocks])
        mean_RM, off_RM = np.empty_like(log_RM), np.empty_like(log_RM)
        for cell in set(cells):
            same = np.array([one == cell for one in cells])
            n = same.sum()
            mean_RM[same] = log_RM[same].mean(0)
            off_RM[same] = (log_RM[same] - mean_RM[same]) * np.sqrt(n / (n - 1))
        df = len(blocks) - len(set(cells))
        scale_S1 = np.sqrt(df / rng.chisquare(df, (draws, 1)))
        for r, block in enumerate(blocks):
            centre_M = points["y"].to_numpy()[block] * np.exp(mean_RM[r] - law.residuals[block])
            y_SN[:, block] = centre_M * np.exp(scale_S1 * off_RM[rng.integers(len(blocks), size=draws)])
    return y_SN
