"""Descent: least-squares and Huber fits of small curves, many at once, and how far a parameter may move.

Levenberg-Marquardt (Marquardt 1963) over a batch of problems, with bounds. A batch is the starts of one fit,
the two ends of every interval, or the refits of a bootstrap: numpy then works on all of them in one go.
Letters: S problems (R those still under way), N data, K parameters.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.intp]
# theta_RK, the numbers of the problems it belongs to -> residuals r_RN, their slopes J_RNK
Residual = Callable[[Array, Index], tuple[Array, Array]]

FLAT = 1e-6  # a fit has converged where its gradient is this small beside its residuals [1]
DOUBLINGS = 24  # an interval that has not ended after 2^23 first steps (standard errors) has no end
ROUNDING = 1e-13  # residuals this small are rounding [1]; callers pass residuals of order one
STEEPEST = 1e100  # of slopes: their squares have to be numbers too
HIGH = 1e3  # heights above this, infinity among them, count as this: a secant needs a number


class Minimum(NamedTuple):
    """Where the descent ended. converged_S is judged by the gradient there, not by why it stopped."""

    theta_SK: Array
    cost_S: Array  # sum over data of r^2, or of twice Huber's function
    converged_S: NDArray[np.bool_]
    slope_S: Array  # there: the greatest cosine between the residuals and a way to change them [1]


def huber(r: Array, delta: float) -> Array:
    """Twice Huber's function, so that delta = inf gives r^2: r^2 up to delta, 2 delta |r| - delta^2 beyond."""
    size = np.abs(r)
    if np.isinf(delta):
        return np.square(size)
    return np.where(size <= delta, size**2, 2 * delta * size - delta**2)


def descend(
    residual: Residual,
    theta_SK: Array,
    bounds_2K: Array,
    free_SK: NDArray[np.bool_] | None = None,
    delta: float = np.inf,
    flat: float = 1e-2 * FLAT,
    steps: int = 300,
    enough: float = -np.inf,
) -> Minimum:
    """Go down from each start to the valley's floor, between bounds_2K; parameters that are not free stay as they are.
    Stops where the gradient is `flat` beside the residuals, where no step goes down, where the cost is `enough` or
    less, or after `steps`."""
    low_K, high_K = bounds_2K
    theta_SK = np.minimum(np.maximum(np.array(theta_SK, dtype=float), low_K), high_K)
    free_SK = np.ones(theta_SK.shape, dtype=bool) if free_SK is None else free_SK
    live = np.arange(len(theta_SK))
    r_SN, J_SNK, cost_S = _look(residual, theta_SK, live, delta)
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
        tried_RK = np.minimum(np.maximum(theta_SK[live] + step_RK, low_K), high_K)  # faster than clip of so few
        r_RN, J_RNK, cost_R = _look(residual, tried_RK, live, delta)
        # Equal costs count as no step: at the floor they are rounding, and would go on for ever.
        better_R = cost_R < cost_S[live]
        damp_S[live] = np.where(better_R, np.maximum(damp_S[live] / 8, 1e-12), np.maximum(damp_S[live], 1e-6) * 8)
        taken = live[better_R]
        theta_SK[taken], cost_S[taken] = tried_RK[better_R], cost_R[better_R]
        r_SN[taken], J_SNK[taken] = r_RN[better_R], J_RNK[better_R]
    # Costs of small residuals r are known to about 1e-15 |r| alone, which hides a slope of the root of 1e-15 / |r|.
    seen_S = np.sqrt(2e-15 / np.sqrt(np.maximum(cost_S, 1e-300)))
    return Minimum(theta_SK, cost_S, (slope_S <= np.maximum(FLAT, seen_S)) & np.isfinite(cost_S), slope_S)


def newton(residual: Residual, theta_K: Array, bounds_2K: Array, free_K: NDArray[np.bool_], steps: int = 12) -> Array:
    """theta of a sum of squares after some steps of Newton's method, its second slopes by differences of the first:
    where residuals are large and bend, Levenberg-Marquardt needs thousands of steps for the last digits. Parameters at
    a bound stay there; a step that leads up is the last."""
    low_K, high_K = bounds_2K
    one = np.zeros(1, np.intp)
    for _ in range(steps):
        r_1N, J_1NK, cost_1 = _look(residual, theta_K[None], one, np.inf)
        k = np.flatnonzero(free_K & (theta_K > low_K) & (theta_K < high_K) & np.any(J_1NK[0] != 0, axis=0))
        if not len(k):
            break
        size_K = np.sqrt(np.sum(J_1NK[0] ** 2, axis=0))
        off_SK = np.zeros((2 * len(k), len(theta_K)))
        off_SK[np.arange(2 * len(k)), np.tile(k, 2)] = np.outer([1e-5, -1e-5], 1 / size_K[k]).ravel()
        r_SN, J_SNK, _ = _look(residual, theta_K + off_SK, np.zeros(2 * len(k), np.intp), np.inf)
        g_SK = np.einsum("sn,snk->sk", r_SN, J_SNK)[:, k] / size_K[k]
        second_KK = (g_SK[: len(k)] - g_SK[len(k) :]) / 2e-5
        slope_K = (r_1N[0] @ J_1NK[0])[k] / size_K[k]
        values, ways_KK = np.linalg.eigh((second_KK + second_KK.T) / 2)
        tried_K = theta_K.copy()
        tried_K[k] -= ways_KK @ ((ways_KK.T @ slope_K) / np.maximum(np.abs(values), 1e-9)) / size_K[k]
        tried_K = np.clip(tried_K, low_K, high_K)
        if not _look(residual, tried_K[None], one, np.inf)[2][0] < cost_1[0]:
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
    """The damped step, and the slope: the greatest cosine between the residuals and a way to change them."""
    if np.isinf(delta):
        wJ_RNK = J_RNK.copy("K")  # of one array with itself matmul makes another product, by its last bits
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
        # Newton's matrix of Huber's function sees only the data within delta; the reweighted one bounds it from
        # above. The damping leads from the first (fast at the floor) to the second (safe on the slopes).
        inside_RKN = (J_RNK * (size_RN <= delta)[:, :, None]).swapaxes(1, 2)
        matrix_RKK = np.where(kept_RKK, np.matmul(inside_RKN, J_RNK), 0.0) + damp_R[:, None, None] * upper_RKK
    # In units in which every diagonal is 1 (Marquardt 1963), so that no scale makes the matrix singular.
    size_RK = np.sqrt(scale_RK)
    matrix_RKK = matrix_RKK / (size_RK[:, :, None] * size_RK[:, None, :]) + more_R[:, None, None] * np.eye(len(low_K))
    R, K = held_RK.nonzero()
    matrix_RKK[R, K, K] = 1.0
    return -_solved(matrix_RKK, g_RK / size_RK) / size_RK, slope_R


def _solved(matrix_RKK: Array, g_RK: Array) -> Array:
    """The steps; that of a matrix which rounding made singular is the shortest that lessens the residuals as much."""
    try:
        return np.asarray(np.linalg.solve(matrix_RKK, g_RK[:, :, None])[:, :, 0], np.float64)
    except np.linalg.LinAlgError:
        return np.einsum("rkl,rl->rk", np.linalg.pinv(matrix_RKK, hermitian=True), g_RK)


def _look(residual: Residual, theta_RK: Array, which_R: Index, delta: float) -> tuple[Array, Array, Array]:
    """Residuals, slopes and cost; where they overflow the cost is infinite, so that the step is not taken."""
    with np.errstate(all="ignore"):
        r_RN, J_RNK = residual(theta_RK, which_R)
        cost_R = np.sum(huber(r_RN, delta), axis=1)
        sane_R = np.isfinite(cost_R) & np.all(np.abs(J_RNK) < STEEPEST, axis=(1, 2))  # nan is not below it either
    r_RN, J_RNK = np.where(sane_R[:, None], r_RN, 0.0), np.where(sane_R[:, None, None], J_RNK, 0.0)
    return r_RN, J_RNK, np.where(sane_R, cost_R, np.inf)


class Brackets:
    """Places on both sides of where a height becomes 0, inner_S where it is not above and outer_S where it is, that are
    narrowed in place by regula falsi; the Illinois halving keeps it from creeping up on one side. live: which S."""

    def __init__(self, inner_S: Array, f_inner_S: Array, outer_S: Array, f_outer_S: Array) -> None:
        self.inner_S, self.f_inner_S, self.outer_S, self.f_outer_S = inner_S, f_inner_S, outer_S, f_outer_S
        self.side_S = np.zeros(len(inner_S))  # on which the last place was

    def share(self, live: Index) -> Array:
        """The share of the way out at which a straight line is 0 [1]."""
        return self.f_inner_S[live] / (self.f_inner_S[live] - self.f_outer_S[live])

    def place(self, live: Index, share_R: Array) -> Array:
        return self.inner_S[live] + share_R * (self.outer_S[live] - self.inner_S[live])

    def narrow(self, live: Index, at_R: Array, f_R: Array) -> None:
        """Put in the heights f_R that were found at the places at_R."""
        side_R, up_R = np.where(f_R > 0, 1.0, -1.0), f_R > 0
        again_R = np.where(side_R == self.side_S[live], 0.5, 1.0)
        self.side_S[live] = side_R
        rose, fell = live[up_R], live[~up_R]
        self.f_inner_S[rose] *= again_R[up_R]
        self.f_outer_S[fell] *= again_R[~up_R]
        self.outer_S[rose], self.f_outer_S[rose] = at_R[up_R], f_R[up_R]
        self.inner_S[fell], self.f_inner_S[fell] = at_R[~up_R], f_R[~up_R]


def crossings(height: Callable[[Array, Index], Array], start_S: Array, step_S: Array, limit_S: Array) -> Array:
    """Where height(t, which), -1 at start and rising about linearly along step, becomes 0; for S searches at once.

    A search that meets its limit below 0 returns the limit. One that never rises to 0 returns +-inf."""
    inner_S, f_inner_S = start_S.astype(float), np.full(start_S.shape, -1.0)
    outer_S, f_outer_S = inner_S.copy(), f_inner_S.copy()
    way_S = np.sign(step_S)
    live = np.flatnonzero(start_S != limit_S)
    for doubling in range(DOUBLINGS):
        if not len(live):
            break
        inner_S[live], f_inner_S[live] = outer_S[live], f_outer_S[live]
        next_R = start_S[live] + step_S[live] * 2.0**doubling
        outer_S[live] = np.where(way_S[live] * (next_R - limit_S[live]) > 0, limit_S[live], next_R)
        f_outer_S[live] = np.minimum(height(outer_S[live], live), HIGH)
        live = live[(f_outer_S[live] <= 0) & (outer_S[live] != limit_S[live])]
    at_S = np.where(outer_S == limit_S, limit_S, way_S * np.inf)
    live = np.flatnonzero(f_outer_S > 0)
    at_S[live] = outer_S[live]
    between = Brackets(inner_S, f_inner_S, outer_S, f_outer_S)
    for _ in range(40):
        if not len(live):
            break
        at_S[live] = between.place(live, between.share(live))
        f_R = np.minimum(height(at_S[live], live), HIGH)
        between.narrow(live, at_S[live], f_R)
        near_R = np.abs(outer_S - inner_S)[live] <= 1e-6 * np.abs(at_S - start_S)[live]
        live = live[(np.abs(f_R) > 1e-5) & ~near_R]
    return at_S
