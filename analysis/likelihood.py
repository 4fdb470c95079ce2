"""Likelihood: a law's form and its data together, and the profile-likelihood intervals that follow.

Errors of log y are taken for normal, of one unknown size. An end of an interval is where the parameter, held, lets the
others come no nearer to the data than the least sum of squares times 1 + t^2 / (n - k), t of Student's distribution
with n - k degrees of freedom (Bates and Watts 1988, Nonlinear Regression Analysis, 6.1). An interval without an end is
told as such (Raue et al. 2009, Bioinformatics 25).
Slopes are by complex step (Squire and Trapp 1998, SIAM Review 40): exact, and from the law alone.
Letters: S searches (R those under way), W parameters searched, M places on a curve, N data, K parameters, V variables.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from analysis.descent import Array, Index, Residual, crossings, descend
from analysis.forms import Form

STEEPER = (2, 6, 20)  # times the law's exponents: further starts of each step of a band
STEP = 1e-100  # along the imaginary axis; no difference is taken, so nothing cancels


def with_slopes(value: Callable[..., Any], theta_SK: Array, z_SVN: Array) -> tuple[Array, Array]:
    """A law's values (S, N) and their slopes (S, N, K) in theta. z_SVN: log x, S or 1 along its first axis."""
    S, K = theta_SK.shape
    theta_KSK1 = (theta_SK[:, None, :] + STEP * 1j * np.eye(K)).transpose(2, 0, 1)[..., None]
    f_SKN = value(theta_KSK1, z_SVN.transpose(1, 0, 2)[:, :, None, :])
    f_SKN = np.broadcast_to(f_SKN, (S, K, z_SVN.shape[2]))
    return f_SKN[:, 0].real.copy(), f_SKN.imag.swapaxes(1, 2) / STEP


@dataclass(frozen=True)
class Problem:
    """Data and form, as the descent wants them: residuals of order one."""

    shape: Form
    z_VN: Array  # log x
    y_N: Array
    space: str
    confidence: float
    pivot_V: Array  # log of the x where the sizes among theta are what they say
    bounds_2K: Array
    free_K: NDArray[np.bool_]  # the others are given, not fitted

    @property
    def unit(self) -> float:
        """What a residual of 1 stands for: 1 in log space, the largest y in linear space."""
        return 1.0 if self.space == "log" else float(self.y_N.max())

    @property
    def df(self) -> int:
        """Degrees of freedom that are left [1]."""
        return self.y_N.size - int(self.free_K.sum())

    def shift(self, theta_K: Array, old_V: Array, new_V: Array) -> Array:
        """theta for another pivot: A x^alpha is exp(u + alpha (log x - pivot)), so u moves with alpha."""
        theta_K = theta_K.copy()
        for move in self.shape.moves:
            rate = 1.0 if move.exponent is None else theta_K[move.exponent]
            theta_K[move.parameter] += move.sign * rate * (old_V[move.variable] - new_V[move.variable])
        return theta_K

    def residual(self, theta_SK: Array, _: Index | None = None) -> tuple[Array, Array]:
        return self.residual_of(*with_slopes(self.shape.value, theta_SK, (self.z_VN - self.pivot_V[:, None])[None]))

    def residual_of(self, f_SN: Array, J_SNK: Array, y_SN: Array | None = None) -> tuple[Array, Array]:
        """Residuals and slopes of a law's values and their slopes; y_SN: of other data than the problem's."""
        y_SN = self.y_N if y_SN is None else y_SN
        if self.space == "log":
            return np.log(f_SN) - np.log(y_SN), J_SNK / f_SN[:, :, None]
        return (f_SN - y_SN) / self.unit, J_SNK / self.unit

    def law(self, theta_K: Array, z_VM: Array) -> Array:
        """The law at log x."""
        z_VM = z_VM - self.pivot_V[:, None]
        return np.broadcast_to(self.shape.value(theta_K, z_VM), z_VM.shape[1:])

    def natural(self, theta_K: Array) -> Array:
        """theta as the letters of the law: sizes themselves, those at x = 1."""
        theta_K = self.shift(theta_K, self.pivot_V, np.zeros_like(self.pivot_V))
        with np.errstate(over="ignore"):
            return np.where(self.shape.logs, np.exp(theta_K), theta_K)

    def allowance(self, theta_K: Array) -> tuple[float, float]:
        """The least cost, and by how much a profile may exceed it (a little rounding in both)."""
        r_1N, _ = self.residual(theta_K[None])
        least = float(np.sum(r_1N**2)) + (1e-15 * self.y_N.size) ** 2
        return least, least * float(stdtrit(self.df, (1 + self.confidence) / 2)) ** 2 / self.df


def intervals(problem: Problem, theta_K: Array) -> dict[str, tuple[float, float]]:
    """Profile-likelihood interval of every parameter that is fitted, all ends in one batch: searches 0..W-1 down,
    W..2W-1 up. theta_K: of the least sum of squares."""
    shape, fitted = problem.shape, np.flatnonzero(problem.free_K)
    W, K = len(fitted), len(theta_K)
    which_S, up_S, S = np.tile(fitted, 2), np.repeat([False, True], W), np.arange(2 * W)
    pivot_SV = np.array([_pivot(problem, k, up) for k, up in zip(which_S, up_S, strict=True)])
    theta_SK = np.array([problem.shift(theta_K, problem.pivot_V, pivot_V) for pivot_V in pivot_SV])
    sizes = zip(theta_SK, pivot_SV, which_S, strict=True)
    step_S = np.array([_step(problem, *search) for search in sizes]) * np.where(up_S, 1, -1)
    free_SK = np.tile(problem.free_K, (2 * W, 1))
    free_SK[S, which_S] = False
    least, more = problem.allowance(theta_K)
    of_size = {move.parameter: move for move in shape.moves if move.exponent is not None}

    def height(t_R: Array, live: Index) -> Array:
        def residual(theta_RK: Array, which: Index) -> tuple[Array, Array]:
            z_RVN = problem.z_VN - pivot_SV[live[which]][:, :, None]
            return problem.residual_of(*with_slopes(shape.value, theta_RK, z_RVN))

        start_RK, which_R, R = theta_SK[live], which_S[live], np.arange(len(live))
        for (
            k,
            move,
        ) in of_size.items():  # as A moves, alpha moves with it, so that A x^alpha keeps its size at the pivot
            if (pivot := problem.pivot_V[move.variable]) and problem.free_K[move.exponent]:
                start_RK[:, move.exponent] += np.where(which_R == k, move.sign * (t_R - start_RK[:, k]) / pivot, 0.0)
        start_RK[R, which_R] = t_R
        valley = descend(residual, start_RK, _unbounded(problem.bounds_2K, shape), free_SK[live], flat=1e-5, steps=100)
        f_R = np.sqrt(np.maximum(valley.cost_S - least, 0.0) / more) - 1
        theta_SK[live[f_R <= 0]] = valley.theta_SK[f_R <= 0]  # beyond the end lie valleys that lead nowhere
        return f_R

    limit_S = _unbounded(problem.bounds_2K, shape)[up_S.astype(int), which_S]
    ends_2K = np.full((2, K), np.nan)
    ends_2K[:, fitted] = crossings(height, theta_SK[S, which_S], step_S, limit_S).reshape(2, W)
    with np.errstate(over="ignore"):
        ends_2K = np.where(shape.logs, np.exp(ends_2K), ends_2K)
    return {shape.names[k]: (float(ends_2K[0, k]), float(ends_2K[1, k])) for k in fitted}


def band(problem: Problem, theta_K: Array, z_VM: Array) -> Array:
    """Ends (2, M) of the interval of the law at each log x: the law's value there takes a size's place among the
    parameters, and its profile is taken like any other's."""
    shape, M, anchor = problem.shape, z_VM.shape[1], problem.shape.anchor
    z_SV1 = np.tile(z_VM.T, (2, 1))[:, :, None]
    theta_SK = np.tile(problem.shift(theta_K, problem.pivot_V, np.zeros_like(problem.pivot_V)), (2 * M, 1))
    theta_SK[:, anchor] = np.log(np.tile(problem.law(theta_K, z_VM), 2))
    free_K = problem.free_K.copy()
    free_K[anchor] = False
    least, more = problem.allowance(theta_K)
    floors = [k for k, name in enumerate(shape.names) if name in ("L_inf", "E") and problem.free_K[k]]

    def residual(theta_RK: Array, which: Index) -> tuple[Array, Array]:
        z_RV1 = z_SV1[which].transpose(1, 0, 2)[:, :, None, :]

        def anchored(theta_KRK1: Any, z_VRKN: Any) -> Any:
            theta = list(theta_KRK1)
            theta[anchor] = shape.solve(np.exp(theta[anchor]), theta, z_RV1)
            return shape.value(theta, z_VRKN)

        return problem.residual_of(*with_slopes(anchored, theta_RK, problem.z_VN[None]))

    def height(v_R: Array, live: Index) -> Array:
        start_RK = theta_SK[live]
        start_RK[:, anchor] = v_R
        for k in floors:
            start_RK[:, k] = np.minimum(start_RK[:, k], 0.999 * np.exp(np.minimum(v_R, 700)))
        found_RK, cost_R = _deepest(problem, theta_K, residual, start_RK, live, free_K, least + more)
        f_R = np.sqrt(np.maximum(cost_R - least, 0.0) / more) - 1
        theta_SK[live[f_R <= 0]] = found_RK[f_R <= 0]
        return f_R

    step_S = np.repeat([-1.0, 1.0], M) * math.sqrt(more)
    with np.errstate(all="ignore"):
        ends_S = crossings(height, theta_SK[:, anchor].copy(), step_S, np.sign(step_S) * np.inf)
        return np.exp(ends_S).reshape(2, -1)


def _deepest(
    problem: Problem, theta_K: Array, residual: Residual, start_RK: Array, live: Index, free_K: Any, enough: float
) -> tuple[Array, Array]:
    """theta and cost below each start; where that is not enough, below starts with the law's exponents theta_K made
    steeper, too: a law that bends at one point alone lies in a valley of its own."""
    bounds_2K = _unbounded(problem.bounds_2K, problem.shape)
    bends = [k for move in problem.shape.moves if (k := move.exponent) is not None and problem.free_K[k]]

    def down(begin_RK: Array, which: Index) -> tuple[Array, Array]:
        its: Residual = lambda theta_RK, R: residual(theta_RK, which[R])  # noqa: E731
        valley = descend(its, begin_RK, bounds_2K, np.tile(free_K, (len(which), 1)), flat=1e-5, steps=50)
        return valley.theta_SK, valley.cost_S

    found_RK, cost_R = down(start_RK, live)
    found_RK[~(cost_R < np.inf)] = start_RK[~(cost_R < np.inf)]
    if not len(over := np.flatnonzero(cost_R > enough)):
        return found_RK, cost_R
    begin_TRK = np.tile(start_RK[over], (len(STEEPER), 1, 1))
    begin_TRK[:, :, bends] = np.multiply.outer(STEEPER, theta_K[bends])[:, None]
    tried_SK, tried_S = down(begin_TRK.reshape(-1, len(theta_K)), np.tile(live[over], len(STEEPER)))
    for tried_RK, tried_R in zip(tried_SK.reshape(begin_TRK.shape), tried_S.reshape(-1, len(over)), strict=True):
        deeper = (tried_R < cost_R[over]) & (cost_R[over] > enough)
        found_RK[over[deeper]], cost_R[over[deeper]] = tried_RK[deeper], tried_R[deeper]
    return found_RK, cost_R


def _unbounded(bounds_2K: Array, shape: Form) -> Array:
    """Bounds without those of parameters whose meaning a pivot changes."""
    bounds_2K = bounds_2K.copy()
    for move in shape.moves:
        bounds_2K[:, move.parameter] = -np.inf, np.inf
    return bounds_2K


def _pivot(problem: Problem, k: int, up: bool) -> Array:
    """The pivot at which the search for an end of parameter k goes furthest without overflow: alpha, on its way to
    infinity, that of the largest x, and to minus infinity of the smallest; A is by its meaning the size at x = 1."""
    pivot_V = problem.pivot_V.copy()
    for move in problem.shape.moves:
        if k == move.parameter:
            pivot_V[move.variable] = 0.0
        elif k == move.exponent:
            z_N = problem.z_VN[move.variable]
            pivot_V[move.variable] = z_N.max() if up == (move.sign < 0) else z_N.min()
    return pivot_V


def _step(problem: Problem, theta_K: Array, pivot_V: Array, k: int) -> float:
    """First step of a search: parameter k's standard error, as far as the curvature gives one."""
    z_1VN = (problem.z_VN - pivot_V[:, None])[None]
    r_1N, J_1NK = problem.residual_of(*with_slopes(problem.shape.value, theta_K[None], z_1VN))
    variance = float(np.sum(r_1N**2)) / problem.df
    J_NK = np.where(problem.free_K, J_1NK[0], 0.0)
    covariance_KK = variance * np.linalg.pinv(J_NK.T @ J_NK)
    return max(math.sqrt(max(covariance_KK[k, k], 0.0)), 1e-12 + 1e-9 * abs(theta_K[k]))
