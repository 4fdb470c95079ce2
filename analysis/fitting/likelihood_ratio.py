"""Critical value of the likelihood-ratio test: by which fraction the cost may exceed its minimum inside an interval.

    least squares      t^2 / (n - k), t of Student's distribution with n - k degrees of freedom: exact for a law that is
                       linear near the data
    errors known       z^2 sigma^2 / minimum, z of the normal distribution
    weights of seeds   simulated with the estimation of the weights (analysis/fitting/seed_draws.py)
    lack of fit        where it is significant, the law misses the mean at each x by more than its seeds explain, and
                       all points of one x by the same: the errors are then those of the means, t^2 of their sum of
                       squares over its degrees of freedom, distinct x less parameters
    Huber's loss       no formula is known for few points, so the value is simulated: normal errors with the residuals'
                       standard deviation about the law's tangent plane, the minimal cost with and without a parameter
                       held at its true value, and the quantile of the relative increase at the confidence
                       (likelihood-ratio test for M-estimators, Schrader and Hettmansperger 1980, Biometrika 67, with
                       simulated critical values)
Of simulated values the largest over the parameters is used.
Letters: S draws, N data, K parameters.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from analysis.fitting.lack_of_fit import LackOfFit, squares
from analysis.fitting.minimizer import Array, Index, levenberg_marquardt
from analysis.fitting.problem import Problem
from analysis.fitting.seed_draws import draw

DRAWS = 400


def critical_rise(problem: Problem, theta_K: Array, found: LackOfFit | None) -> float:
    """By which fraction of the minimal cost a profile may exceed it, at the problem's confidence [1]. found: the law's
    lack of fit."""
    tail = (1 + problem.confidence) / 2
    student = float(stdtrit(problem.df, tail)) ** 2 / problem.df
    if not math.isinf(problem.delta):
        return max(_simulated(problem, theta_K), 1e-3 * student)
    least, _ = problem.allowance(theta_K, 0.0)
    if found is not None and found.significant:
        return float(stdtrit(found.df, tail)) ** 2 * squares(problem, theta_K)[0] / found.df / least
    if not math.isnan(problem.sigma):
        return (float(ndtri(tail)) * problem.sigma) ** 2 / least
    if np.ptp(problem.weight_N) == 0:
        return student
    return float(np.quantile(draw(problem, theta_K).rise_SK, problem.confidence, axis=0).max())


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
        zero_SK = np.zeros((DRAWS, K))
        return levenberg_marquardt(residual, zero_SK, bounds_2K, free_SK, delta=problem.delta, steps=100).cost_S

    all_S = least(np.ones(K, bool))
    rises = [least(np.arange(K) != k) / np.maximum(all_S, 1e-300) - 1 for k in range(K)]
    return max(float(np.quantile(rise_S, problem.confidence)) for rise_S in rises)
