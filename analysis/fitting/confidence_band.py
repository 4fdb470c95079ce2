"""Confidence band: the profile-likelihood interval of the law itself at a place.

The value of the law at that place replaces the coefficient among the parameters, and its profile is computed like that
of any parameter (analysis/fitting/confidence.py).
Letters: S searches (R those under way), M places on a curve, N data, K parameters, V variables.
"""

import math

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.lineshapes import Rows, Values
from analysis.fitting.minimizer import Array, Index, Residual, levenberg_marquardt
from analysis.fitting.problem import Problem, unbounded, with_slopes
from analysis.fitting.regula_falsi import crossings

STEEPER = (2, 6, 20)  # times the law's exponents: further starts of each step of a band
STEEPEST = 1e3  # times the steepest exponent that the data can distinguish from a steeper one


def band(problem: Problem, theta_K: Array, factor: float, z_VM: Array) -> Array:
    """Ends (2, M) of the interval of the law at each log x.  theta_K: of the minimum; factor: by which fraction of the
    minimal cost a profile may exceed it."""
    shape, M, anchor = problem.shape, z_VM.shape[1], problem.shape.anchor
    z_SV1 = np.tile(z_VM.T, (2, 1))[:, :, None]
    theta_SK = np.tile(problem.shift(theta_K, problem.pivot_V, np.zeros_like(problem.pivot_V)), (2 * M, 1))
    theta_SK[:, anchor] = np.log(np.tile(problem.law(theta_K, z_VM), 2)) - math.log(problem.scale)
    free_K = problem.free_K.copy()
    free_K[anchor] = False
    least, more = problem.allowance(theta_K, factor)
    floors = [k for k, name in enumerate(shape.names) if name in ("L_inf", "E") and problem.free_K[k]]

    def residual(theta_RK: Array, which: Index) -> tuple[Array, Array]:
        z_RV1 = z_SV1[which].transpose(1, 0, 2)[:, :, None, :]

        def anchored(theta_KRK1: Rows, z_VRKN: Rows) -> Values:
            theta = list(theta_KRK1)
            theta[anchor] = shape.solve(np.exp(theta[anchor]), theta, z_RV1)
            return shape.value(theta, z_VRKN)

        return problem.residual_of(*with_slopes(anchored, theta_RK, problem.z_VN[None]))

    def height(v_R: Array, live: Index) -> Array:
        start_RK = theta_SK[live]
        start_RK[:, anchor] = v_R
        for k in floors:
            start_RK[:, k] = np.minimum(start_RK[:, k], 0.999 * np.exp(np.minimum(v_R, 700)))
        found_RK, cost_R = _lowest(problem, theta_K, residual, start_RK, live, free_K, least + more)
        f_R = np.sqrt(np.maximum(cost_R - least, 0.0) / more) - 1
        theta_SK[live[f_R <= 0]] = found_RK[f_R <= 0]
        return f_R

    step_S = np.repeat([-1.0, 1.0], M) * math.sqrt(more)
    with np.errstate(all="ignore"):
        ends_S = crossings(height, theta_SK[:, anchor].copy(), step_S, np.sign(step_S) * np.inf)
        return np.exp(ends_S).reshape(2, -1) * problem.scale


def _lowest(
    problem: Problem,
    theta_K: Array,
    residual: Residual,
    start_RK: Array,
    live: Index,
    free_K: NDArray[np.bool_],
    enough: float,
) -> tuple[Array, Array]:
    """theta and cost at the minimum reached from each start; where the cost exceeds `enough`, also from starts with
    the exponents of theta_K made steeper: a law that bends at one point only is a separate minimum."""
    bounds_2K = unbounded(problem.bounds_2K, problem.shape)
    stand_2K = np.isinf(problem.ends_2K) & np.isfinite(bounds_2K)  # between the data points steeper laws do differ
    bounds_2K = np.where(stand_2K, STEEPEST * bounds_2K, bounds_2K)
    bends = [k for move in problem.shape.moves if (k := move.exponent) is not None and problem.free_K[k]]

    def minimize(begin_RK: Array, which: Index) -> tuple[Array, Array]:
        its: Residual = lambda theta_RK, R: residual(theta_RK, which[R])  # noqa: E731
        free_RK = np.tile(free_K, (len(which), 1))
        found = levenberg_marquardt(its, begin_RK, bounds_2K, free_RK, delta=problem.delta, flat=1e-5, steps=50)
        return found.theta_SK, found.cost_S

    found_RK, cost_R = minimize(start_RK, live)
    found_RK[~(cost_R < np.inf)] = start_RK[~(cost_R < np.inf)]
    if not len(over := np.flatnonzero(cost_R > enough)):
        return found_RK, cost_R
    begin_TRK = np.tile(start_RK[over], (len(STEEPER), 1, 1))
    begin_TRK[:, :, bends] = np.multiply.outer(STEEPER, theta_K[bends])[:, None]
    tried_SK, tried_S = minimize(begin_TRK.reshape(-1, len(theta_K)), np.tile(live[over], len(STEEPER)))
    for tried_RK, tried_R in zip(tried_SK.reshape(begin_TRK.shape), tried_S.reshape(-1, len(over)), strict=True):
        lower = (tried_R < cost_R[over]) & (cost_R[over] > enough)
        found_RK[over[lower]], cost_R[over[lower]] = tried_RK[lower], tried_R[lower]
    return found_RK, cost_R
