"""Minimizer: least-squares and Huber fits of small curves, many at once.

Levenberg-Marquardt (Marquardt 1963) with bounds over a batch of problems: the starts of one fit, both ends of every
interval, or the refits of a bootstrap, vectorised in numpy.
Letters: S problems (R those not yet converged), N data, K parameters.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.intp]
# theta_RK, the indices of its problems -> residuals r_RN, their Jacobian J_RNK
Residual = Callable[[Array, Index], tuple[Array, Array]]

FLAT = 1e-6  # a fit has converged where its gradient is this small relative to its residuals [1]
ROUNDING = 1e-13  # residuals this small are rounding [1]; callers pass residuals of order one
STEEPEST = 1e100  # of slopes: their squares must be finite


class Minimum(NamedTuple):
    """The end point of each minimisation. converged_S depends on the gradient there, not on the reason for stopping."""

    theta_SK: Array
    cost_S: Array  # sum over data of r^2, or of twice Huber's function
    converged_S: NDArray[np.bool_]
    slope_S: Array  # largest cosine between the residuals and a direction that changes them [1]


def huber(r: Array, delta: float) -> Array:
    """Twice Huber's function, so that delta = inf gives r^2: r^2 up to delta, 2 delta |r| - delta^2 beyond."""
    size = np.abs(r)
    if np.isinf(delta):
        return np.square(size)
    return np.where(size <= delta, size**2, 2 * delta * size - delta**2)


def levenberg_marquardt(
    residual: Residual,
    theta_SK: Array,
    bounds_2K: Array,
    free_SK: NDArray[np.bool_] | None = None,
    delta: float = np.inf,
    flat: float = 1e-2 * FLAT,
    steps: int = 300,
    enough: float = -np.inf,
) -> Minimum:
    """Minimise the cost from each start, within bounds_2K; parameters that are not free keep their values.
    Stops where the gradient relative to the residuals is `flat`, where no step reduces the cost, where the cost is at
    most `enough`, or after `steps`."""
    low_K, high_K = bounds_2K
    theta_SK = np.minimum(np.maximum(np.array(theta_SK, dtype=float), low_K), high_K)
    free_SK = np.ones(theta_SK.shape, dtype=bool) if free_SK is None else free_SK
    live = np.arange(len(theta_SK))
    r_SN, J_SNK, cost_S = _evaluate(residual, theta_SK, live, delta)
    damp_S = np.full(len(theta_SK), 1e-3)
    slope_S = np.full(len(theta_SK), np.inf)
    for _ in range(steps):
        step_RK, slope_S[live] = _step(
            theta_SK[live], r_SN[live], J_SNK[live], bounds_2K, free_SK[live], damp_S[live], delta
        )
        going_R = (slope_S[live] > flat) & (damp_S[live] < 1e9) & (cost_S[live] > enough)
        live, step_RK = live[going_R], step_RK[going_R]
        if not len(live):
            break
        tried_RK = np.minimum(np.maximum(theta_SK[live] + step_RK, low_K), high_K)  # faster than clip for small arrays
        r_RN, J_RNK, cost_R = _evaluate(residual, tried_RK, live, delta)
        # Steps of equal cost are rejected: at the minimum they are rounding and would never end.
        better_R = cost_R < cost_S[live]
        damp_S[live] = np.where(better_R, np.maximum(damp_S[live] / 8, 1e-12), np.maximum(damp_S[live], 1e-6) * 8)
        taken = live[better_R]
        theta_SK[taken], cost_S[taken] = tried_RK[better_R], cost_R[better_R]
        r_SN[taken], J_SNK[taken] = r_RN[better_R], J_RNK[better_R]
    # Rounding of 1e-15 |r| in the cost hides slopes below sqrt(1e-15 / |r|).
    seen_S = np.sqrt(2e-15 / np.sqrt(np.maximum(cost_S, 1e-300)))
    return Minimum(theta_SK, cost_S, (slope_S <= np.maximum(FLAT, seen_S)) & np.isfinite(cost_S), slope_S)


def newton(residual: Residual, theta_K: Array, bounds_2K: Array, free_K: NDArray[np.bool_], steps: int = 12) -> Array:
    """theta of a sum of squares after some steps of Newton's method, the Hessian by differences of the gradient: where
    residuals are large and the law is nonlinear, Levenberg-Marquardt needs thousands of steps for the last digits.
    Parameters at a bound stay there; the first step that increases the cost ends it."""
    low_K, high_K = bounds_2K
    one = np.zeros(1, np.intp)
    for _ in range(steps):
        r_1N, J_1NK, cost_1 = _evaluate(residual, theta_K[None], one, np.inf)
        k = np.flatnonzero(free_K & (theta_K > low_K) & (theta_K < high_K) & np.any(J_1NK[0] != 0, axis=0))
        if not len(k):
            break
        size_K = np.sqrt(np.sum(J_1NK[0] ** 2, axis=0))
        off_SK = np.zeros((2 * len(k), len(theta_K)))
        off_SK[np.arange(2 * len(k)), np.tile(k, 2)] = np.outer([1e-5, -1e-5], 1 / size_K[k]).ravel()
        r_SN, J_SNK, _ = _evaluate(residual, theta_K + off_SK, np.zeros(2 * len(k), np.intp), np.inf)
        g_SK = np.einsum("sn,snk->sk", r_SN, J_SNK)[:, k] / size_K[k]
        second_KK = (g_SK[: len(k)] - g_SK[len(k) :]) / 2e-5
        slope_K = (r_1N[0] @ J_1NK[0])[k] / size_K[k]
        values, ways_KK = np.linalg.eigh((second_KK + second_KK.T) / 2)
        tried_K = theta_K.copy()
        tried_K[k] -= ways_KK @ ((ways_KK.T @ slope_K) / np.maximum(np.abs(values), 1e-9)) / size_K[k]
        tried_K = np.clip(tried_K, low_K, high_K)
        if not _evaluate(residual, tried_K[None], one, np.inf).cost_R[0] < cost_1[0]:
            break
        theta_K = tried_K
    return theta_K


def _step(
    theta_RK: Array,
    r_RN: Array,
    J_RNK: Array,
    bounds_2K: Array,
    free_RK: NDArray[np.bool_],
    damp_R: Array,
    delta: float,
) -> tuple[Array, Array]:
    """The damped step, and the slope as in Minimum."""
    if np.isinf(delta):
        wJ_RNK = J_RNK.copy("K")  # matmul of an array with itself rounds differently
        length_R = np.sqrt(np.sum(r_RN**2, axis=1))
    else:
        size_RN = np.maximum(np.abs(r_RN), 1e-300)
        weight_RN = np.minimum(1.0, delta / size_RN)
        wJ_RNK, length_R = weight_RN[:, :, None] * J_RNK, np.sqrt(np.sum(weight_RN * r_RN**2, axis=1))
    g_RK = np.matmul(r_RN[:, None, :], wJ_RNK)[:, 0]
    low_K, high_K = bounds_2K
    held_RK = ~free_RK | ((theta_RK <= low_K) & (g_RK > 0)) | ((theta_RK >= high_K) & (g_RK < 0))  # pushed outwards
    g_RK = np.where(held_RK, 0.0, g_RK)
    kept_RKK = ~held_RK[:, :, None] & ~held_RK[:, None, :]
    upper_RKK = np.where(kept_RKK, np.matmul(J_RNK.swapaxes(1, 2), wJ_RNK), 0.0)
    scale_RK = upper_RKK.diagonal(axis1=1, axis2=2)
    scale_RK = np.where(scale_RK > 0, scale_RK, 1.0)
    slope_R = np.max(np.abs(g_RK) / np.sqrt(scale_RK), axis=1) / np.maximum(length_R, 1e-300)
    slope_R = np.where(length_R < ROUNDING * np.sqrt(r_RN.shape[1]), 0.0, slope_R)
    matrix_RKK, more_R = upper_RKK, damp_R + 1e-14
    if not np.isinf(delta):
        # The Hessian of Huber's function includes only residuals within delta; the reweighted matrix bounds it from
        # above. The damping interpolates between the first (fast near the minimum) and the second (safe far away).
        inside_RKN = (J_RNK * (size_RN <= delta)[:, :, None]).swapaxes(1, 2)
        matrix_RKK = np.where(kept_RKK, np.matmul(inside_RKN, J_RNK), 0.0) + damp_R[:, None, None] * upper_RKK
    # Scaled to a unit diagonal (Marquardt 1963), so that units cannot make the matrix singular.
    size_RK = np.sqrt(scale_RK)
    matrix_RKK = matrix_RKK / (size_RK[:, :, None] * size_RK[:, None, :]) + more_R[:, None, None] * np.eye(len(low_K))
    R, K = held_RK.nonzero()
    matrix_RKK[R, K, K] = 1.0
    return -_solved(matrix_RKK, g_RK / size_RK) / size_RK, slope_R


def _solved(matrix_RKK: Array, g_RK: Array) -> Array:
    """The steps; for a matrix that rounding made singular the minimum-norm solution."""
    try:
        return np.asarray(np.linalg.solve(matrix_RKK, g_RK[:, :, None])[:, :, 0], np.float64)
    except np.linalg.LinAlgError:
        return np.einsum("rkl,rl->rk", np.linalg.pinv(matrix_RKK, hermitian=True), g_RK)


class Evaluation(NamedTuple):
    """Residuals, Jacobian and cost at theta."""

    r_RN: Array
    J_RNK: Array
    cost_R: Array


def _evaluate(residual: Residual, theta_RK: Array, which_R: Index, delta: float) -> Evaluation:
    """Residuals, Jacobian and cost; where they overflow the cost is infinite, so that the step is rejected."""
    with np.errstate(all="ignore"):
        r_RN, J_RNK = residual(theta_RK, which_R)
        cost_R = np.sum(huber(r_RN, delta), axis=1)
        sane_R = np.isfinite(cost_R) & np.all(np.abs(J_RNK) < STEEPEST, axis=(1, 2))  # nan is not below it either
    r_RN, J_RNK = np.where(sane_R[:, None], r_RN, 0.0), np.where(sane_R[:, None, None], J_RNK, 0.0)
    return Evaluation(r_RN, J_RNK, np.where(sane_R, cost_R, np.inf))
