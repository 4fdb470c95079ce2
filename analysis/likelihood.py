"""Likelihood: a law's form and its data together, and the profile-likelihood intervals that follow.

An end of an interval is where the parameter, held, lets the others come no nearer to the data than the least sum of
squares times 1 + t^2 / (n - k), t of Student's distribution with n - k degrees of freedom (Bates and Watts 1988,
Nonlinear Regression Analysis, 6.1). An interval without an end is told as such (Raue et al. 2009, Bioinformatics 25).
Letters: S searches (R those under way), W parameters searched, M places on a curve, N data, K parameters.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit

from analysis.descent import Array, Index, crossings, descend
from analysis.forms import Form


@dataclass(frozen=True)
class Problem:
    """Data and form, as the descent wants them: residuals of order one."""

    shape: Form
    z_N: Array  # log x
    y_N: Array
    space: str
    confidence: float
    pivot: float  # log of the x where exp(theta's A) is the size of A x^alpha

    def shift(self, theta_K: Array, old: float, new: float) -> Array:
        """theta for another pivot: A x^alpha is exp(u + alpha (log x - pivot)), so u moves with alpha."""
        theta_K = theta_K.copy()
        theta_K[self.shape.names.index("A")] += theta_K[self.shape.names.index("alpha")] * (new - old)
        return theta_K

    @property
    def unit(self) -> float:
        """What a residual of 1 stands for: 1 in log space, the largest y in linear space."""
        return 1.0 if self.space == "log" else float(self.y_N.max())

    def residual(self, theta_SK: Array, _: Index | None = None) -> tuple[Array, Array]:
        f_SN, J_SNK = self.shape.curve(theta_SK, np.broadcast_to(self.z_N - self.pivot, (len(theta_SK), len(self.z_N))))
        return self.residual_of(f_SN, J_SNK)

    def residual_of(self, f_SN: Array, J_SNK: Array) -> tuple[Array, Array]:
        """Residuals and slopes of a law's values and their slopes."""
        if self.space == "log":
            return np.log(f_SN) - np.log(self.y_N), J_SNK / f_SN[:, :, None]
        return (f_SN - self.y_N) / self.unit, J_SNK / self.unit

    def law(self, theta_K: Array, z_N: Array) -> Array:
        """The law at log x."""
        return self.shape.curve(theta_K[None], z_N[None] - self.pivot)[0][0]

    def natural(self, theta_K: Array) -> Array:
        """theta as the letters of the law: A itself, the size of A x^alpha at x = 1."""
        theta_K = self.shift(theta_K, self.pivot, 0.0)
        theta_K[self.shape.names.index("A")] = np.exp(theta_K[self.shape.names.index("A")])
        return theta_K

    def allowance(self, theta_K: Array) -> tuple[float, float]:
        """The least cost, and by how much a profile may exceed it (a little rounding in both)."""
        r_1N, _ = self.residual(theta_K[None])
        least = float(np.sum(r_1N**2)) + (1e-15 * len(self.z_N)) ** 2
        df = len(self.z_N) - len(theta_K)
        return least, least * float(stdtrit(df, (1 + self.confidence) / 2)) ** 2 / df


def intervals(problem: Problem, theta_K: Array) -> dict[str, tuple[float, float]]:
    """Profile-likelihood interval of every parameter, all ends in one batch: searches 0..K-1 down, K..2K-1 up.

    Each search has the pivot at which it goes furthest without overflow: alpha, on its way to infinity, that of the
    largest x, and to minus infinity of the smallest; A is by its meaning the size of A x^alpha at x = 1."""
    names, K = problem.shape.names, len(theta_K)
    A, alpha = names.index("A"), names.index("alpha")
    pivot_2K = np.full((2, K), problem.pivot)
    pivot_2K[:, A] = 0.0
    pivot_2K[:, alpha] = problem.z_N.min(), problem.z_N.max()
    pivot_S, which_S, S = pivot_2K.ravel(), np.tile(np.arange(K), 2), np.arange(2 * K)
    theta_SK = np.array([problem.shift(theta_K, problem.pivot, pivot) for pivot in pivot_S])
    step_S = np.array([_step(problem, theta_SK[s], pivot_S[s], which_S[s]) for s in S]) * np.repeat([-1, 1], K)
    free_SK = np.ones((2 * K, K), dtype=bool)
    free_SK[S, which_S] = False
    least, more = problem.allowance(theta_K)
    low_K = np.array(problem.shape.low)

    def height(t_R: Array, live: Index) -> Array:
        def residual(theta_RK: Array, which: Index) -> tuple[Array, Array]:
            return problem.residual_of(*problem.shape.curve(theta_RK, problem.z_N - pivot_S[live[which], None]))

        start_RK, which_R, R = theta_SK[live], which_S[live], np.arange(len(live))
        if problem.pivot:  # as A moves, alpha moves with it, so that A x^alpha keeps its size at the problem's pivot
            start_RK[:, alpha] += np.where(which_R == A, (start_RK[:, A] - t_R) / problem.pivot, 0.0)
        start_RK[R, which_R] = t_R
        valley = descend(residual, start_RK, low_K, free_SK[live], flat=1e-5, steps=100)
        f_R = np.sqrt(np.maximum(valley.cost_S - least, 0.0) / more) - 1
        theta_SK[live[f_R <= 0]] = valley.theta_SK[f_R <= 0]  # beyond the end lie valleys that lead nowhere
        return f_R

    limit_S = np.concatenate([low_K, np.full(K, np.inf)])
    ends_2K = crossings(height, theta_SK[S, which_S], step_S, limit_S).reshape(2, K)
    with np.errstate(over="ignore"):
        ends_2K[:, A] = np.exp(ends_2K[:, A])
    return {name: (float(ends_2K[0, k]), float(ends_2K[1, k])) for k, name in enumerate(names)}


def band(problem: Problem, theta_K: Array, z_M: Array) -> Array:
    """Ends (2, M) of the interval of the law at each log x: the law's value there takes A's place among the
    parameters, and its profile is taken like any other's."""
    S, where_A = 2 * len(z_M), problem.shape.names.index("A")
    z_S1 = np.tile(z_M, 2)[:, None]
    theta_SK = np.tile(theta_K, (S, 1))
    theta_SK[:, where_A] = np.log(problem.law(theta_K, z_S1[:, 0]))
    free_SK = np.ones(theta_SK.shape, dtype=bool)
    free_SK[:, where_A] = False
    least, more = problem.allowance(theta_K)

    def height(v_R: Array, live: Index) -> Array:
        start_RK = theta_SK[live]
        start_RK[:, where_A] = v_R
        if "L_inf" in problem.shape.names:
            start_RK[:, 0] = np.minimum(start_RK[:, 0], 0.999 * np.exp(np.minimum(v_R, 700)))

        def residual(theta_RK: Array, which: Index) -> tuple[Array, Array]:
            return problem.residual_of(*problem.shape.anchored(theta_RK, problem.z_N - z_S1[live[which]]))

        valley = descend(residual, start_RK, np.array(problem.shape.low), free_SK[live], flat=1e-5, steps=50)
        f_R = np.sqrt(np.maximum(valley.cost_S - least, 0.0) / more) - 1
        theta_SK[live[f_R <= 0]] = valley.theta_SK[f_R <= 0]
        return f_R

    step_S = np.repeat([-1.0, 1.0], len(z_M)) * math.sqrt(more)
    ends_S = crossings(height, theta_SK[:, where_A].copy(), step_S, np.sign(step_S) * np.inf)
    return np.exp(ends_S).reshape(2, -1)


def _step(problem: Problem, theta_K: Array, pivot: float, k: int) -> float:
    """First step of a search: parameter k's standard error, as far as the curvature gives one."""
    r_1N, J_1NK = replace(problem, pivot=pivot).residual(theta_K[None])
    variance = float(np.sum(r_1N**2)) / (len(problem.z_N) - len(theta_K))
    covariance_KK = variance * np.linalg.pinv(J_1NK[0].T @ J_1NK[0])
    return max(math.sqrt(max(covariance_KK[k, k], 0.0)), 1e-12 + 1e-9 * abs(theta_K[k]))
