"""Likelihood: a law's form and its data together, and the interval of the law itself at a place.

Errors of log y are taken for normal, of one unknown size. An end of an interval is where the parameter, held, lets the
others come no nearer to the data than the least sum of squares times 1 + t^2 / (n - k), t of Student's distribution
with n - k degrees of freedom (Bates and Watts 1988, Nonlinear Regression Analysis, 6.1). With Huber's loss the factor
is another (analysis/fitting/robust.py). Intervals of parameters: analysis/fitting/profiles.py.
Data are fitted in units of their own: y over its largest value, x over a pivot. So units change no digit of an answer.
Slopes are by complex step (Squire and Trapp 1998, SIAM Review 40): exact, and from the law alone.
Letters: S searches (R those under way), M places on a curve, N data, K parameters, V variables.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.lineshapes import Form
from analysis.fitting.minimizer import Array, Index, Residual, crossings, descend, huber

STEEPER = (2, 6, 20)  # times the law's exponents: further starts of each step of a band
STEEPEST = 1e3  # times the steepest exponent that the data can tell from a steeper one
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
    y_N: Array  # over scale: 1 is the largest
    scale: float  # in the unit of y
    space: str
    delta: float  # Huber's, of residuals in this scale; inf for squares
    confidence: float
    pivot_V: Array  # log of the x where the sizes among theta are what they say
    bounds_2K: Array  # of theta. An exponent beyond its bound makes no other law of these x: it stands for infinity
    ends_2K: Array  # what a parameter is at its bounds: infinite, where the bound stands for that
    free_K: NDArray[np.bool_]  # the others are given, not fitted

    @property
    def unit(self) -> float:
        """What a residual of 1 stands for: 1 in log space, the largest y in linear space."""
        return 1.0 if self.space == "log" else self.scale

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

    def letter(self, k: int) -> tuple[Array, float]:
        """weight_K and level of parameter k as the law's letter: weight_K theta + level is its logarithm where it is a
        size. Of A, the size at x = 1 in the unit of y, the exponents that lead there from the pivot have a weight."""
        weight_K, level = np.eye(len(self.shape.names))[k], 0.0
        for move in self.shape.moves:
            if move.parameter == k and move.exponent is None:
                level += move.sign * self.pivot_V[move.variable]
            elif move.parameter == k:
                weight_K[move.exponent] += move.sign * self.pivot_V[move.variable]
        if self.shape.logs[k]:
            level += self.shape.units[k] * math.log(self.scale)
            if self.shape.unit_falls and self.shape.unit_falls[0] == k:
                weight_K[self.shape.unit_falls[1]] -= math.log(self.scale)
        return weight_K, float(level)

    def in_its_unit(self, k: int, value: Array | float) -> Any:
        """Parameter k from what `letter` makes of theta."""
        with np.errstate(over="ignore"):
            return np.exp(value) if self.shape.logs[k] else value * self.scale ** self.shape.units[k]

    def residual(self, theta_SK: Array, _: Index | None = None) -> tuple[Array, Array]:
        return self.residual_of(*with_slopes(self.shape.value, theta_SK, (self.z_VN - self.pivot_V[:, None])[None]))

    def residual_of(self, f_SN: Array, J_SNK: Array, y_SN: Array | None = None) -> tuple[Array, Array]:
        """Residuals and slopes of a law's values and their slopes; y_SN: of other data than the problem's, over the
        same scale."""
        y_SN = self.y_N if y_SN is None else y_SN
        if self.space == "log":
            return np.log(f_SN) - np.log(y_SN), J_SNK / f_SN[:, :, None]
        return f_SN - y_SN, J_SNK

    def law(self, theta_K: Array, z_VM: Array) -> Array:
        """The law at log x, in the unit of y."""
        z_VM = z_VM - self.pivot_V[:, None]
        return np.broadcast_to(self.shape.value(theta_K, z_VM), z_VM.shape[1:]) * self.scale

    def natural(self, theta_K: Array) -> Array:
        """theta as the letters of the law: sizes themselves, those at x = 1."""
        letters = [self.letter(k) for k in range(len(theta_K))]
        return np.array([self.in_its_unit(k, w_K @ theta_K + level) for k, (w_K, level) in enumerate(letters)])

    def allowance(self, theta_K: Array, factor: float) -> tuple[float, float]:
        """The least cost, and `factor` times as much, by which a profile may exceed it (a little rounding in both)."""
        r_1N, _ = self.residual(theta_K[None])
        least = float(np.sum(huber(r_1N, self.delta))) + (1e-15 * self.y_N.size) ** 2
        return least, least * factor


def band(problem: Problem, theta_K: Array, factor: float, z_VM: Array) -> Array:
    """Ends (2, M) of the interval of the law at each log x: the law's value there takes a size's place among the
    parameters, and its profile is taken like any other's."""
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
        return np.exp(ends_S).reshape(2, -1) * problem.scale


def _deepest(
    problem: Problem, theta_K: Array, residual: Residual, start_RK: Array, live: Index, free_K: Any, enough: float
) -> tuple[Array, Array]:
    """theta and cost below each start; where that is not enough, below starts with the law's exponents theta_K made
    steeper, too: a law that bends at one point alone lies in a valley of its own."""
    bounds_2K = unbounded(problem.bounds_2K, problem.shape)
    stand_2K = np.isinf(problem.ends_2K) & np.isfinite(bounds_2K)  # between the data steeper laws do differ
    bounds_2K = np.where(stand_2K, STEEPEST * bounds_2K, bounds_2K)
    bends = [k for move in problem.shape.moves if (k := move.exponent) is not None and problem.free_K[k]]

    def down(begin_RK: Array, which: Index) -> tuple[Array, Array]:
        its: Residual = lambda theta_RK, R: residual(theta_RK, which[R])  # noqa: E731
        free_RK = np.tile(free_K, (len(which), 1))
        valley = descend(its, begin_RK, bounds_2K, free_RK, delta=problem.delta, flat=1e-5, steps=50)
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


def unbounded(bounds_2K: Array, shape: Form) -> Array:
    """Bounds without those of parameters whose meaning a pivot changes."""
    bounds_2K = bounds_2K.copy()
    for move in shape.moves:
        bounds_2K[:, move.parameter] = -np.inf, np.inf
    return bounds_2K
