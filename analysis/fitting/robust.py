"""Robust: how far above its least the cost may rise for an interval of 95 %, for squares and for Huber's loss.

For the sum of squares of a law that is linear near the data that is exact: t^2 / (n - k) of the least, t of Student's
distribution. For Huber's loss no such number is known at few points, so it is found by simulation: normal errors of
the size of the residuals about the law's tangent plane, the least cost with and without the parameter held at its true
value, and of the relative rise that quantile which belongs to the confidence (a likelihood-ratio test for M-estimators,
Schrader and Hettmansperger 1980, Biometrika 67, with simulated critical values). Of the parameters the widest counts.
Letters: S draws, N data, K parameters.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from analysis.fitting.likelihood import Problem
from analysis.fitting.minimizer import Array, Index, descend

DRAWS = 400


def rise(problem: Problem, theta_K: Array) -> float:
    """The factor of the least cost by which a profile may exceed it, at the problem's confidence [1]."""
    known = float(stdtrit(problem.df, (1 + problem.confidence) / 2)) ** 2 / problem.df
    return known if math.isinf(problem.delta) else max(_simulated(problem, theta_K), 1e-3 * known)


def _simulated(problem: Problem, theta_K: Array) -> float:
    r_1N, J_1NK = problem.residual(theta_K[None])
    J_NK = J_1NK[0][:, problem.free_K]
    size_K = np.sqrt(np.sum(J_NK**2, axis=0))
    J_NK = J_NK[:, size_K > 0] / size_K[size_K > 0]
    N, K = J_NK.shape
    spread = math.sqrt(float(np.sum(r_1N**2)) / problem.df) or 1.0
    e_SN = spread * np.random.default_rng(0).standard_normal((DRAWS, N))
    bounds_2K = np.array([[-np.inf] * K, [np.inf] * K])

    def least(free_K: NDArray[np.bool_]) -> Array:
        def residual(theta_RK: Array, which: Index) -> tuple[Array, Array]:
            return theta_RK @ J_NK.T - e_SN[which], np.broadcast_to(J_NK, (len(which), N, K))

        free_SK = np.tile(free_K, (DRAWS, 1))
        return descend(residual, np.zeros((DRAWS, K)), bounds_2K, free_SK, delta=problem.delta, steps=100).cost_S

    all_S = least(np.ones(K, bool))
    rises = [least(np.arange(K) != k) / np.maximum(all_S, 1e-300) - 1 for k in range(K)]
    return max(float(np.quantile(rise_S, problem.confidence)) for rise_S in rises)
