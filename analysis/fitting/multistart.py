"""Multi-start: the lowest minimum that is reached from many starting values.

Letters: S starts, P other minima, N data, K parameters.
"""

import math

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.minimizer import Array, Minimum, levenberg_marquardt, newton
from analysis.fitting.problem import Problem

FLATTENS = 0.25  # of the steepest exponent: from here on laws differ by 1e-5 and less
OTHERS = 3  # minima besides the lowest from which confidence intervals are searched


def best_minimum(problem: Problem, theta_SK: Array) -> tuple[Minimum, Array]:
    """The lowest minimum that is reached from the starts, and theta of up to OTHERS other minima."""
    free_SK = np.tile(problem.free_K, (len(theta_SK), 1))
    found = levenberg_marquardt(problem.residual, theta_SK, problem.bounds_2K, free_SK, delta=problem.delta, steps=15)
    ahead = np.argsort(found.cost_S, kind="stable")  # the others would reach the same minima, later
    costs = found.cost_S[ahead]
    apart = np.flatnonzero(np.diff(costs) > 1e-3 * costs[1:]) + 1
    others_PK = found.theta_SK[ahead[apart[:OTHERS]]]
    ahead = ahead[:3]
    begin_SK = found.theta_SK[ahead]

    def minimize(theta_SK: Array, free_SK: NDArray[np.bool_], steps: int) -> Minimum:
        return levenberg_marquardt(
            problem.residual, theta_SK, problem.bounds_2K, free_SK, delta=problem.delta, steps=steps
        )

    found = minimize(begin_SK, free_SK[ahead], 100)
    if not found.converged_S[lowest := int(np.argmin(found.cost_S))]:
        begin_K = found.theta_SK[lowest]
        if math.isinf(problem.delta):
            begin_K = newton(problem.residual, begin_K, problem.bounds_2K, problem.free_K)
        found = minimize(begin_K[None], free_SK[:1], 3000)
    S = [int(np.argmin(found.cost_S))]
    return Minimum(found.theta_SK[S], found.cost_S[S], found.converged_S[S], found.slope_S[S]), others_PK


def at_infinity(problem: Problem, best: Minimum) -> Minimum:
    """The minimum with exponents at their numerical bounds (infinity) where the cost is the same there: in a flat
    direction the result must not depend on where the minimisation stopped."""
    steep_K = np.isinf(problem.ends_2K[1]) & np.isfinite(problem.bounds_2K[1]) & problem.free_K
    steep_K &= np.abs(best.theta_SK[0]) > FLATTENS * problem.bounds_2K[1]
    if not steep_K.any():
        return best
    theta_K = best.theta_SK[0].copy()
    for move in problem.shape.moves:
        if move.exponent is not None and steep_K[move.exponent]:
            k, z_N = move.exponent, problem.z_VN[move.variable]
            change = problem.bounds_2K[int(theta_K[k] > 0), k] - theta_K[k]
            end = z_N.max() if change * -move.sign > 0 else z_N.min()
            theta_K[move.parameter] += move.sign * change * (end - problem.pivot_V[move.variable])
            theta_K[k] += change
    free_1K = (problem.free_K & ~steep_K)[None]
    found = levenberg_marquardt(problem.residual, theta_K[None], problem.bounds_2K, free_1K, delta=problem.delta)
    return found if found.cost_S[0] <= best.cost_S[0] * (1 + 1e-9) + 1e-30 else best
