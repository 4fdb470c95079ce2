"""Profile search: the profile of a parameter at many places, and where it crosses a threshold.

The profile is the minimal cost with that parameter held. Each place is minimised from several starts and from the
results of its neighbours; the crossing between two places is found by regula falsi.
Letters: S searches, one per end (R those not finished), G places of the grid, P starts at each, K parameters.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.minimizer import Array, Index, levenberg_marquardt
from analysis.fitting.problem import Problem, unbounded
from analysis.fitting.regula_falsi import HIGH, Brackets

BEND = (0.3, 2.0, 6.0, 20.0)  # times the law's exponents: further starts at each place
FLOORS = ("L_inf", "E")
BEST = 4  # starts per place that are continued, those of the lowest cost
TURNS = 40  # of regula falsi
LOOK, LEFT, GO_ON = 6, 20, 40  # steps of the minimisations: of every start, of the two best, of a continued one


class Search(NamedTuple):
    """The parameter that each search holds, and its value as a linear function of theta: weight_SK theta."""

    problem: Problem
    k_S: Index
    weight_SK: Array
    free_SK: NDArray[np.bool_]

    def held(self, theta_RK: Array, S: Index, value_R: Array) -> Array:
        """theta with the held parameters of the searches S at value_R."""
        theta_RK, R = theta_RK.copy(), np.arange(len(S))
        k_R, weight_RK = self.k_S[S], self.weight_SK[S]
        theta_RK[R, k_R] = 0.0
        theta_RK[R, k_R] = value_R - np.sum(weight_RK * theta_RK, axis=1)
        return theta_RK

    def minimize(
        self, theta_RK: Array, S: Index, value_R: Array, steps: int, enough: float = -math.inf
    ) -> tuple[Array, Array]:
        """theta and cost of the minimum that is reached from each start, the parameters held at value_R."""
        problem, k_R, weight_RK = self.problem, self.k_S[S], self.weight_SK[S]
        bounds_2K = unbounded(problem.bounds_2K, problem.shape)
        theta_RK = np.clip(theta_RK, *bounds_2K)

        def residual(q_RK: Array, which: Index) -> tuple[Array, Array]:
            r_RN, J_RNK = problem.residual(self.held(q_RK, S[which], value_R[which]))
            of_held_RN = np.take_along_axis(J_RNK, k_R[which][:, None, None], axis=2)
            return r_RN, J_RNK - of_held_RN * weight_RK[which][:, None, :]

        found = levenberg_marquardt(residual, theta_RK, bounds_2K, self.free_SK[S], problem.delta, 1e-6, steps, enough)
        return self.held(found.theta_SK, S, value_R), found.cost_S


class Places(NamedTuple):
    """A place for each of some searches, and the profile there."""

    value_R: Array
    theta_RK: Array
    cost_R: Array


class BracketedEnds(NamedTuple):
    """The last allowed place and the first rejected one of each search that has an end, and which searches have one."""

    inner: Places
    outer: Places
    ended_S: NDArray[np.bool_]


def bracket_ends(
    search: Search, from_S: Array, value_SG: Array, theta_K: Array, starts_PK: Array, least: float, allowed: float
) -> BracketedEnds:
    """The grid places between which each search crosses the threshold `allowed`."""
    S, G = value_SG.shape
    theta_SGK, cost_SG = _evaluated(search, value_SG, theta_K, starts_PK, allowed)
    theta_SGK = np.concatenate([np.tile(theta_K, (S, 1, 1)), theta_SGK], axis=1)
    value_SG = np.concatenate([from_S[:, None], value_SG], axis=1)
    cost_SG = np.concatenate([np.full((S, 1), least), cost_SG], axis=1)
    for _ in range(G):  # outwards from the outermost allowed place, as long as the next one is allowed too
        last_S = G - np.argmax(cost_SG[:, ::-1] <= allowed, axis=1)
        live = np.flatnonzero(last_S < G)
        beyond = last_S[live] + 1
        theta_RK, cost_R = search.minimize(theta_SGK[live, beyond - 1], live, value_SG[live, beyond], GO_ON, allowed)
        better = cost_R < cost_SG[live, beyond]
        theta_SGK[live[better], beyond[better]] = theta_RK[better]
        cost_SG[live[better], beyond[better]] = cost_R[better]
        if not np.any(cost_SG[live, beyond] <= allowed):
            break
    last_S = G - np.argmax(cost_SG[:, ::-1] <= allowed, axis=1)
    live = np.flatnonzero((last_S < G) & (value_SG[:, -1] != from_S))
    sides = [(live, last_S[live] + n) for n in (0, 1)]
    inner, outer = (Places(value_SG[at], theta_SGK[at], cost_SG[at]) for at in sides)
    return BracketedEnds(inner, outer, np.isin(np.arange(S), live))


def _evaluated(
    search: Search, value_SG: Array, theta_K: Array, starts_PK: Array, allowed: float
) -> tuple[Array, Array]:
    """theta (S, G, K) and cost (S, G) at each place from the best of several starts: minimised fully beyond the
    outermost allowed place, elsewhere only until the cost is allowed."""
    problem, (S, G), K = search.problem, value_SG.shape, len(theta_K)
    s_R, value_R, R = np.repeat(np.arange(S), G), value_SG.ravel(), np.arange(S * G)
    pool_PK = np.concatenate([theta_K[None], _bent(problem, theta_K), starts_PK])
    begin_PRK = np.concatenate(
        [np.tile(pool_PK[:, None], (1, S * G, 1)), _following(search, theta_K, s_R, value_R)[None]]
    )

    def minimize(theta_PRK: Array, R: Index, steps: int) -> tuple[Array, Array]:
        P = len(theta_PRK)
        places = np.tile(s_R[R], P), np.tile(value_R[R], P)
        theta, cost = search.minimize(theta_PRK.reshape(-1, K), *places, steps, allowed)
        order_PR = np.argsort(cost.reshape(P, -1), axis=0, kind="stable")
        along = np.arange(len(R))
        return theta.reshape(P, -1, K)[order_PR, along], cost.reshape(P, -1)[order_PR, along]

    theta_PRK, _ = minimize(begin_PRK, R, 0)
    theta_PRK, cost_PR = minimize(theta_PRK[:BEST], R, LOOK)
    best_RK, best_R = theta_PRK[0], cost_PR[0]
    allowed_SG = (best_R <= allowed).reshape(S, G)
    last_S = np.where(allowed_SG.any(axis=1), G - np.argmax(allowed_SG[:, ::-1], axis=1), 0)
    left = np.flatnonzero((np.arange(G) >= last_S[:, None]).ravel())
    if len(left):
        theta_PRK, cost_PR = minimize(theta_PRK[:2, left], left, LEFT)
        best_RK[left], best_R[left] = theta_PRK[0], cost_PR[0]
    return best_RK.reshape(S, G, K), best_R.reshape(S, G)


def _bent(problem: Problem, theta_K: Array) -> Array:
    """The law with steeper and flatter exponents, its coefficients at the pivot unchanged."""
    bends = [k for move in problem.shape.moves if (k := move.exponent) is not None and problem.free_K[k]]
    bent_PK = np.tile(theta_K, (len(BEND), 1))
    bent_PK[:, bends] = np.multiply.outer(BEND, theta_K[bends])
    return np.clip(bent_PK, *problem.bounds_2K)


def _following(search: Search, theta_K: Array, S: Index, value_R: Array) -> Array:
    """Starts in which a second parameter compensates for the held one, so that the law stays near the data: for A the
    exponent, keeping the term at the pivot; for an exponent A, keeping the term where it is largest."""
    problem, theta_RK = search.problem, np.tile(theta_K, (len(S), 1))
    for move in problem.shape.moves:
        if move.exponent is None or not problem.free_K[move.exponent]:
            continue
        pivot, z_N = problem.pivot_V[move.variable], problem.z_VN[move.variable]
        if pivot:
            holds = search.k_S[S] == move.parameter
            change_R = value_R - search.weight_SK[S] @ theta_K
            theta_RK[:, move.exponent] += np.where(holds, change_R * move.sign / pivot, 0.0)
        holds = search.k_S[S] == move.exponent
        change_R = value_R - theta_K[move.exponent]
        end_R = np.where(change_R * -move.sign > 0, z_N.max(), z_N.min())
        theta_RK[:, move.parameter] += np.where(holds, move.sign * change_R * (end_R - pivot), 0.0)
    return theta_RK


def _floors_at_bound(search: Search, theta_RK: Array) -> Array:
    """theta with floors at their bound, where a separate minimum may lie."""
    theta_RK = theta_RK.copy()
    for k, name in enumerate(search.problem.shape.names):
        if name in FLOORS and search.problem.free_K[k]:
            theta_RK[:, k] = search.problem.bounds_2K[0, k]
    return theta_RK


def refine_ends(search: Search, S: Index, ends: BracketedEnds, least: float, more: float) -> tuple[Array, Array]:
    """The value of the held parameter where the profile reaches the threshold, and theta there, by regula falsi on
    sqrt((cost - least) / more) - 1."""
    in_R, out_R, theta_in_RK, theta_out_RK = (
        a.copy() for a in (ends.inner.value_R, ends.outer.value_R, ends.inner.theta_RK, ends.outer.theta_RK)
    )
    f_in_R = np.minimum(np.sqrt(np.maximum(ends.inner.cost_R - least, 0.0) / more) - 1, -1e-9)
    f_out_R = np.clip(np.sqrt((ends.outer.cost_R - least) / more) - 1, 1e-9, HIGH)
    between = Brackets(in_R, f_in_R, out_R, f_out_R)
    from_R, at_R, live = in_R.copy(), in_R.copy(), np.arange(len(S))
    for turn in range(TURNS):
        if not len(live):
            break
        share_R = between.share(live)
        if turn % 4 == 3:  # bisection finds a jump to another minimum
            share_R[:] = 0.5
        at_R[live] = between.place(live, share_R)
        begin_RK = np.concatenate([theta_in_RK[live], theta_out_RK[live], _floors_at_bound(search, theta_in_RK[live])])
        theta_SK, cost_S = search.minimize(begin_RK, np.tile(S[live], 3), np.tile(at_R[live], 3), GO_ON)
        theta_SK, cost_S = theta_SK.reshape(3, len(live), -1), cost_S.reshape(3, -1)
        lower_R = np.argmin(cost_S, axis=0)
        theta_RK, cost_R = theta_SK[lower_R, np.arange(len(live))], np.min(cost_S, axis=0)
        f_R = np.minimum(np.sqrt(np.maximum(cost_R - least, 0.0) / more) - 1, HIGH)
        between.narrow(live, at_R[live], f_R)
        theta_out_RK[live[f_R > 0]], theta_in_RK[live[f_R <= 0]] = theta_RK[f_R > 0], theta_RK[f_R <= 0]
        near_R = np.abs(out_R - in_R)[live] <= 1e-7 * np.abs(out_R - from_R)[live]
        live = live[(np.abs(f_R) > 1e-6) & ~near_R]
    return at_R, theta_in_RK
