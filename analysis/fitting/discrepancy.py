"""Discrepancy: by how much a law misses the means at each x beyond their errors, and the weights that follow from it.

Where seeds do not explain the deviations from a law, weights of the seeds alone would fit the x whose seeds agree best
and leave the law's whole error to the others. The mean at x_j then has the variance tau^2 + v_j: that of the law's
discrepancy, one for all x, and that of the mean between seeds, v_j; tau is the value at which the weighted sum of
squares has its expectation, sum_j r_j^2 / (tau^2 + v_j) = P - k.
Source: Paule and Mandel 1982, Journal of Research of the NBS 87, 377; so in meta-analysis (random effects).
Letters: N data, P distinct x, K parameters.
"""

from dataclasses import replace

import numpy as np
from scipy.optimize import brentq

from analysis.fitting.lack_of_fit import LackOfFit, squares
from analysis.fitting.minimizer import Array, levenberg_marquardt
from analysis.fitting.problem import Problem
from analysis.fitting.weights import places


def with_discrepancy(problem: Problem, theta_K: Array, found: LackOfFit) -> Problem:
    """The problem with the discrepancy of its law added to the errors. theta_K: of the minimum without it; found: its
    significant lack of fit."""
    place_N = places(problem.z_VN)
    variance_P = found.error**2 / np.bincount(place_N, problem.precision_N**2)
    free_1K = problem.free_K[None]

    def weighted(tau2: float) -> Problem:
        share_P = variance_P / (tau2 + variance_P)
        return replace(problem, weight_N=problem.precision_N * np.sqrt(share_P)[place_N])

    def excess(tau2: float) -> float:
        its = weighted(tau2)
        theta_1K = levenberg_marquardt(its.residual, theta_K[None], its.bounds_2K, free_1K).theta_SK
        return squares(its, theta_1K[0])[0] / found.error**2 - found.df

    high = float(variance_P.max())
    while excess(high) > 0:
        high *= 4
    tau2 = float(brentq(excess, 0.0, high, rtol=1e-6, xtol=1e-9 * high)) if excess(0.0) > 0 else 0.0
    its = weighted(tau2)
    scale = np.sqrt(np.mean(its.weight_N**2))  # residuals of order one, as the minimizer takes them
    return replace(its, weight_N=its.weight_N / scale)
