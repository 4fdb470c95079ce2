"""Validation of the law of model, patch and image: held-out rows, released models outside the fit, and how often each
choice for a budget is the best one among resampled laws.

A row is a model at an image size, at all its patch sizes. Residuals within a row are correlated, so rows, not points,
are held out and resampled. Source: the wild cluster bootstrap (Cameron, Gelbach and Miller 2008, Review of Economics
and Statistics 90), with the weights of Webb 2014 for few clusters.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd

from analysis.fitting.bootstrap import refit
from analysis.fitting.minimizer import Array
from analysis.planning.allocation import AT, Surface, best, law_of, row_misses
from analysis.records.published import load_published, model_sizes

DRAWS = 400  # resampled laws
WEIGHTS = np.sqrt([0.5, 1.0, 1.5])  # of both signs: mean 0, variance 1


def released(surface: Surface) -> pd.DataFrame:
    """Released models that are not among the points of the law, and its prediction: model, patch, image [px], measured,
    predicted, low, high (95 % interval of one measurement), inside (whether measured is), in the unit of the law."""
    rows = load_published("released_models").rename(columns={"input_px": "image"})
    seen = set(map(tuple, surface.points[["model", "patch", "image"]].to_numpy()))
    unseen = [key not in seen for key in map(tuple, rows[["model", "patch", "image"]].to_numpy())]
    rows = rows[unseen].reset_index(drop=True)
    at = rows["model"].map(model_sizes()), rows["patch"], rows["image"]
    low, high = surface.interval(*at)
    frame = rows[["model", "patch", "image"]].assign(
        measured=100 - rows["top1"], predicted=surface.law.predict(*at), low=low, high=high
    )
    return frame.assign(inside=frame["measured"].between(frame["low"], frame["high"]))


@cache
def resampled_laws(surface: Surface, draws: int = DRAWS, seed: int = 0) -> tuple[dict[str, Array], int]:
    """Resampled laws: parameters (S, K) by form, and how many resamples gave none. Each is fitted to the law's own
    predictions times the held-out errors of the rows, with a random sign and weight per row; AICc selects its form."""
    law, points = surface.law, surface.points
    misses = row_misses(points, law.form)["miss"].to_numpy()
    row = points.groupby(["model", "image"], sort=False).ngroup().to_numpy()
    rng = np.random.default_rng(seed)
    weight_SR = rng.choice(np.concatenate([WEIGHTS, -WEIGHTS]), size=(draws, row.max() + 1))
    y_SN = law.predict(*(points[name] for name in AT)) * np.exp(weight_SR[:, row] * misses)
    theta, aicc = {}, {}
    for form in surface.weighed:
        its = law_of(points, form)
        problem = its.problem
        z_1VN = (problem.z_VN - problem.pivot_V[:, None])[None]
        theta[form], converged_S = refit(its, z_1VN, y_SN)
        f_SN = problem.shape.value(theta[form].T[:, :, None], z_1VN[0][:, None, :]) * problem.scale
        squares_S = np.sum(np.log(f_SN / y_SN) ** 2, axis=1)
        aicc[form] = np.where(converged_S, akaike(squares_S, law.n, its.k), np.inf)
    least = np.min(list(aicc.values()), axis=0)
    kept = {form: theta[form][(aicc[form] == least) & (least < np.inf)] for form in theta}
    return kept, int(np.sum(np.isinf(least)))


def akaike(squares: Array, n: int, k: int) -> Array:
    """AICc of laws of k parameters with these sums of squares, as in Fit.aicc."""
    k += 1
    return n * np.log(squares / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def resampled_predictions(surface: Surface, x_VM: Array, draws: int = DRAWS) -> Array:
    """(S, M) predictions of the resampled laws at M places. x_VM: parameters [1], patch and image sides [px]."""
    predicted = []
    for form, theta_SK in resampled_laws(surface, draws)[0].items():
        problem = law_of(surface.points, form).problem
        z_VM = np.log(x_VM) - problem.pivot_V[:, None]
        predicted.append(problem.shape.value(theta_SK.T[:, :, None], z_VM[:, None, :]) * problem.scale)
    return np.concatenate(predicted)


def wins(
    surface: Surface,
    configured: pd.DataFrame,
    budgets: Sequence[float],
    cost: str = "training_flops",
    draws: int = DRAWS,
) -> pd.DataFrame:
    """How often each configuration is the best of a budget among resampled laws: budget, model, patch, image [px],
    share [1] (most often first within a budget). configured, cost: as for allocation.best."""
    predicted_SM = resampled_predictions(surface, configured[list(AT)].to_numpy(float).T, draws)
    found = []
    for budget in budgets:
        best(configured, [budget], cost)  # raises where no configuration is affordable
        can = np.flatnonzero(configured[cost] <= budget)
        picked = pd.Series(can[np.argmin(predicted_SM[:, can], axis=1)]).value_counts(normalize=True)
        rows = configured.iloc[picked.index][["model", "patch", "image"]]
        found.append(rows.assign(budget=float(budget), share=picked.to_numpy()))
    return pd.concat(found, ignore_index=True)[["budget", "model", "patch", "image", "share"]]


def forms_weighed(surface: Surface) -> pd.DataFrame:
    """AICc of the candidate laws of three variables, the lowest first: form, parameters [1], rms and largest
    residual [%], AICc."""
    rows = []
    for form in surface.weighed:
        law = law_of(surface.points, form)
        size = 100 * np.abs(law.residuals)
        rows.append((form, law.k, float(np.sqrt(np.mean(size**2))), float(size.max()), law.aicc))
    frame = pd.DataFrame(rows, columns=["form", "parameters", "rms", "largest", "aicc"])
    return frame.sort_values("aicc", ignore_index=True)
