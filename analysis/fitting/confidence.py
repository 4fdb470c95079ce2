"""Confidence intervals: how far each parameter of a law may move, by profile likelihood, all ends at once.

Errors of log y are assumed normal with one unknown variance. An interval ends where the minimal sum of squares with the
parameter held is the overall minimum times 1 + t^2 / (n - k), t of Student's distribution with n - k degrees of freedom
(Bates and Watts 1988, Nonlinear Regression Analysis, 6.1); for Huber's loss: analysis/fitting/likelihood_ratio.py.
The profile is evaluated on a grid from the estimate to where the parameter has no further effect, from several starts
(analysis/fitting/profile_search.py). The interval ends at the outermost allowed place; where that is the last of the
grid, it has no end on that side (Raue et al. 2009, Bioinformatics 25). So separate minima are part of the interval.
Letters: S searches, one per end, G places of the grid, P starts at each, K parameters.
"""

import math

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.minimizer import Array, Index
from analysis.fitting.problem import ENOUGH, Problem
from analysis.fitting.profile_search import FLOORS, Search, bracket_ends, refine_ends

PLACES = 10  # of the grid, on each side of the estimate
NARROWEST = 1e-12  # first step of the grid, relative to its length [1]


def intervals(problem: Problem, theta_K: Array, factor: float, starts_PK: Array) -> dict[str, tuple[float, float]]:
    """Profile-likelihood interval of every fitted parameter. theta_K: of the minimum; factor: by which fraction of the
    minimal cost a profile may exceed it; starts_PK: other minima, as further starts."""
    shape, fitted = problem.shape, np.flatnonzero(problem.free_K)
    W, S = len(fitted), np.arange(2 * len(fitted))  # searches 0..W-1 down, W..2W-1 up
    k_S, up_S = np.tile(fitted, 2), np.repeat([0, 1], W)
    letters = [problem.letter(int(k)) for k in k_S]
    search = Search(problem, k_S, np.array([weight_K for weight_K, _ in letters]), np.tile(problem.free_K, (2 * W, 1)))
    search.free_SK[S, k_S] = False
    least, more = problem.allowance(theta_K, factor)
    from_S = search.weight_SK @ theta_K
    to_S = np.array(
        [_furthest(problem, theta_K, int(k), int(up), least + more) for k, up in zip(k_S, up_S, strict=True)]
    )
    to_S = np.where(up_S == 1, np.maximum(to_S, from_S), np.minimum(to_S, from_S))
    value_SG = from_S[:, None] + (to_S - from_S)[:, None] * _widening(problem, theta_K, search, to_S - from_S)
    found = bracket_ends(search, from_S, value_SG, theta_K, starts_PK, least, least + more)
    ended_S = found.ended_S.copy()
    end_S, at = to_S.copy(), np.flatnonzero(ended_S)
    end_S[at], theta_RK = refine_ends(search, at, found, least, more)
    ended_S[at] = ~_at_infinite_exponent(search, at, theta_RK)
    result: dict[str, tuple[float, float]] = {}
    for n, k in enumerate(map(int, fitted)):
        ends = []
        for up, s in enumerate((n, n + W)):
            end = end_S[s] if ended_S[s] else problem.ends_2K[up, k]
            ends.append(float(problem.in_its_unit(k, end + letters[s][1])))
        point = float(problem.natural(theta_K)[k])  # by rounding it could lie just outside
        result[shape.names[k]] = (min(ends[0], point), max(ends[1], point))
    return result


def _furthest(problem: Problem, theta_K: Array, k: int, up: int, allowed: float) -> float:
    """The furthest value of parameter k (less its level): its bound, or beyond which the law does not change, or beyond
    which every law is rejected."""
    name, bound = problem.shape.names[k], float(problem.bounds_2K[up, k])
    if name in FLOORS and up:  # a floor further above the largest y is rejected
        over = math.sqrt(allowed) if math.isinf(problem.delta) else allowed / problem.delta + problem.delta
        return min(bound, math.exp(min(over, ENOUGH)) if problem.space == "log" else 1.0 + over)
    if math.isfinite(bound):
        return bound
    weight_K, _ = problem.letter(k)
    steepest_K = np.where(weight_K != 0, np.abs(problem.bounds_2K).max(axis=0), 0.0)
    steepest_K[k] = 0.0
    steepest_K = np.where(np.isfinite(steepest_K), steepest_K, np.abs(theta_K))
    reach = ENOUGH + float(np.abs(weight_K) @ steepest_K) + math.sqrt(min(allowed, 1e4))
    return float(weight_K @ theta_K) + reach * (1 if up else -1)


def _widening(problem: Problem, theta_K: Array, search: Search, way_S: Array) -> Array:
    """Fractions (S, G) of the way to the furthest value, geometrically spaced from half a standard error, where the
    curvature gives one, to 1."""
    r_1N, J_1NK = problem.residual(theta_K[None])
    J_NK = np.where(problem.free_K & np.all(np.isfinite(J_1NK[0]), axis=0), J_1NK[0], 0.0)
    size_K = np.sqrt(np.sum(J_NK**2, axis=0))
    size_K[size_K == 0] = 1.0
    covariance_KK = np.linalg.pinv((J_NK / size_K).T @ (J_NK / size_K), hermitian=True) / np.outer(size_K, size_K)
    variance = float(np.sum(r_1N**2)) / problem.df
    error_S = np.sqrt(
        np.maximum(variance * np.einsum("sk,kl,sl->s", search.weight_SK, covariance_KK, search.weight_SK), 0)
    )
    with np.errstate(all="ignore"):
        first_S = np.clip(np.nan_to_num(0.5 * error_S / np.abs(way_S), nan=0.01), NARROWEST, 0.2)
    return first_S[:, None] ** np.linspace(1, 0, PLACES)


def _at_infinite_exponent(search: Search, S: Index, theta_RK: Array) -> NDArray[np.bool_]:
    """Whether an end of a coefficient occurs only at the numerical bound of an exponent, and so is not an end."""
    problem, k_R = search.problem, search.k_S[S]
    weight_RK = search.weight_SK[S].copy()
    weight_RK[np.arange(len(S)), k_R] = 0.0
    stands_K = np.isinf(problem.ends_2K[1]) & np.isfinite(problem.bounds_2K[1])
    at_RK = np.abs(theta_RK) >= 0.98 * problem.bounds_2K[1]
    return np.any((weight_RK != 0) & stands_K & at_RK, axis=1)
