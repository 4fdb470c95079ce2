"""Profile: how far each parameter of a law may move, for all ends of all intervals at once.

The profile of a parameter is the least cost with that parameter held. It is looked at between the estimate and the
furthest that the parameter can have any meaning, on a grid that widens, each place from several starts and from what
its neighbours on both sides found. The interval ends at the outermost place that the data allow, found between two
places of the grid by regula falsi; where that is the furthest of all, the interval has no end on that side (Raue et
al. 2009, Bioinformatics 25). So a valley of laws that lies apart is in the interval, and an end is never missed by
starting beyond it.
Letters: S searches, one an end (R those under way), G places of the grid, P starts at each, K parameters.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.likelihood import Problem, unbounded
from analysis.fitting.minimizer import HIGH, Array, Brackets, Index, descend

PLACES = 10  # of the grid, on each side of the estimate
NARROWEST = 1e-12  # first step of the grid, of the way to its end [1]
BEND = (0.3, 2.0, 6.0, 20.0)  # times the law's exponents: further starts at each place
ENOUGH = 40.0  # e^-40 is nothing beside 1 [1]
FLOORS = ("L_inf", "E")
BEST = 4  # starts of a place that are followed, those of the least cost
TURNS = 40  # of regula falsi
LOOK, LEFT, GO_ON = 6, 20, 40  # steps of the descents: of every start, of the two best, of one that is followed


class Search(NamedTuple):
    """Which parameter each search holds, and how its letter follows from theta: weight_SK theta, less the level."""

    problem: Problem
    k_S: Index
    weight_SK: Array
    free_SK: NDArray[np.bool_]

    def held(self, theta_RK: Array, S: Index, value_R: Array) -> Array:
        """theta with the letters of the searches S at value_R."""
        theta_RK, R = theta_RK.copy(), np.arange(len(S))
        k_R, weight_RK = self.k_S[S], self.weight_SK[S]
        theta_RK[R, k_R] = 0.0
        theta_RK[R, k_R] = value_R - np.sum(weight_RK * theta_RK, axis=1)
        return theta_RK

    def descend(
        self, theta_RK: Array, S: Index, value_R: Array, steps: int, enough: float = -math.inf
    ) -> tuple[Array, Array]:
        """theta and cost at the floor below each start, the letters held at value_R."""
        problem, k_R, weight_RK = self.problem, self.k_S[S], self.weight_SK[S]
        bounds_2K = unbounded(problem.bounds_2K, problem.shape)
        theta_RK = np.clip(theta_RK, *bounds_2K)

        def residual(q_RK: Array, which: Index) -> tuple[Array, Array]:
            r_RN, J_RNK = problem.residual(self.held(q_RK, S[which], value_R[which]))
            of_held_RN = np.take_along_axis(J_RNK, k_R[which][:, None, None], axis=2)
            return r_RN, J_RNK - of_held_RN * weight_RK[which][:, None, :]

        valley = descend(residual, theta_RK, bounds_2K, self.free_SK[S], problem.delta, 1e-6, steps, enough)
        return self.held(valley.theta_SK, S, value_R), valley.cost_S


def intervals(problem: Problem, theta_K: Array, factor: float, starts_PK: Array) -> dict[str, tuple[float, float]]:
    """Profile-likelihood interval of every parameter that is fitted. theta_K: where the cost is least; factor: by how
    much of itself the cost may rise; starts_PK: other laws that may lead to a valley."""
    shape, fitted = problem.shape, np.flatnonzero(problem.free_K)
    W, S = len(fitted), np.arange(2 * len(fitted))  # searches 0..W-1 down, W..2W-1 up
    k_S, up_S = np.tile(fitted, 2), np.repeat([0, 1], W)
    letters = [problem.letter(int(k)) for k in k_S]
    search = Search(problem, k_S, np.array([weight_K for weight_K, _ in letters]), np.tile(problem.free_K, (2 * W, 1)))
    search.free_SK[S, k_S] = False
    least, more = problem.allowance(theta_K, factor)
    from_S = search.weight_SK @ theta_K
    to_S = np.array(
        [_furthest(problem, theta_K, int(k), int(up), least + more) for k, up in zip(k_S, up_S, strict=True)]
    )
    to_S = np.where(up_S == 1, np.maximum(to_S, from_S), np.minimum(to_S, from_S))
    value_SG = from_S[:, None] + (to_S - from_S)[:, None] * _widening(problem, theta_K, search, to_S - from_S)
    inner, outer, ended_S = _brackets(search, from_S, value_SG, theta_K, starts_PK, least, least + more)
    end_S, at = to_S.copy(), np.flatnonzero(ended_S)
    end_S[at], theta_RK = _between(search, at, inner, outer, least, more)
    ended_S[at] = ~_by_an_infinite_one(search, at, theta_RK)
    found: dict[str, tuple[float, float]] = {}
    for n, k in enumerate(map(int, fitted)):
        ends = []
        for up, s in enumerate((n, n + W)):
            end = end_S[s] if ended_S[s] else problem.ends_2K[up, k]
            ends.append(float(problem.in_its_unit(k, end + letters[s][1])))
        point = float(problem.natural(theta_K)[k])  # rounding leaves it no room to lie outside
        found[shape.names[k]] = (min(ends[0], point), max(ends[1], point))
    return found


def _furthest(problem: Problem, theta_K: Array, k: int, up: int, allowed: float) -> float:
    """The furthest that the letter k, less its level, can go: its bound, or where nothing changes any more, or where no
    law is allowed any more."""
    name, bound = problem.shape.names[k], float(problem.bounds_2K[up, k])
    if name in FLOORS and up:  # a floor so far above the largest y is further off than all else may be
        over = math.sqrt(allowed) if math.isinf(problem.delta) else allowed / problem.delta + problem.delta
        return min(bound, math.exp(min(over, ENOUGH)) if problem.space == "log" else 1.0 + over)
    if math.isfinite(bound):
        return bound
    weight_K, _ = problem.letter(k)
    steepest_K = np.where(weight_K != 0, np.abs(problem.bounds_2K).max(axis=0), 0.0)
    steepest_K[k] = 0.0
    steepest_K = np.where(np.isfinite(steepest_K), steepest_K, np.abs(theta_K))
    reach = ENOUGH + float(np.abs(weight_K) @ steepest_K) + math.sqrt(min(allowed, 1e4))
    return float(weight_K @ theta_K) + reach * (1 if up else -1)


def _widening(problem: Problem, theta_K: Array, search: Search, way_S: Array) -> Array:
    """Shares (S, G) of the way to the furthest, evenly in their logarithm from half a standard error, as far as the
    curvature gives one, to 1."""
    r_1N, J_1NK = problem.residual(theta_K[None])
    J_NK = np.where(problem.free_K & np.all(np.isfinite(J_1NK[0]), axis=0), J_1NK[0], 0.0)
    size_K = np.sqrt(np.sum(J_NK**2, axis=0))
    size_K[size_K == 0] = 1.0
    covariance_KK = np.linalg.pinv((J_NK / size_K).T @ (J_NK / size_K), hermitian=True) / np.outer(size_K, size_K)
    variance = float(np.sum(r_1N**2)) / problem.df
    error_S = np.sqrt(
        np.maximum(variance * np.einsum("sk,kl,sl->s", search.weight_SK, covariance_KK, search.weight_SK), 0)
    )
    with np.errstate(all="ignore"):
        first_S = np.clip(np.nan_to_num(0.5 * error_S / np.abs(way_S), nan=0.01), NARROWEST, 0.2)
    return first_S[:, None] ** np.linspace(1, 0, PLACES)


def _by_an_infinite_one(search: Search, S: Index, theta_RK: Array) -> NDArray[np.bool_]:
    """Whether an end of a size is only where an exponent that stands for infinity has its bound: then it is none."""
    problem, k_R = search.problem, search.k_S[S]
    weight_RK = search.weight_SK[S].copy()
    weight_RK[np.arange(len(S)), k_R] = 0.0
    stands_K = np.isinf(problem.ends_2K[1]) & np.isfinite(problem.bounds_2K[1])
    at_RK = np.abs(theta_RK) >= 0.98 * problem.bounds_2K[1]
    return np.any((weight_RK != 0) & stands_K & at_RK, axis=1)


class Places(NamedTuple):
    """A place for each of some searches, and the profile there."""

    value_R: Array
    theta_RK: Array
    cost_R: Array


def _brackets(
    search: Search, from_S: Array, value_SG: Array, theta_K: Array, starts_PK: Array, least: float, allowed: float
) -> tuple[Places, Places, NDArray[np.bool_]]:
    """The outermost allowed place of each search that has an end, and the one beyond; and which searches those are."""
    S, G = value_SG.shape
    theta_SGK, cost_SG = _looked_at(search, value_SG, theta_K, starts_PK, allowed)
    theta_SGK = np.concatenate([np.tile(theta_K, (S, 1, 1)), theta_SGK], axis=1)
    value_SG = np.concatenate([from_S[:, None], value_SG], axis=1)
    cost_SG = np.concatenate([np.full((S, 1), least), cost_SG], axis=1)
    for _ in range(G):  # outwards from the outermost allowed place, as long as the next one turns out to be allowed
        last_S = G - np.argmax(cost_SG[:, ::-1] <= allowed, axis=1)
        live = np.flatnonzero(last_S < G)
        beyond = last_S[live] + 1
        theta_RK, cost_R = search.descend(theta_SGK[live, beyond - 1], live, value_SG[live, beyond], GO_ON, allowed)
        better = cost_R < cost_SG[live, beyond]
        theta_SGK[live[better], beyond[better]] = theta_RK[better]
        cost_SG[live[better], beyond[better]] = cost_R[better]
        if not np.any(cost_SG[live, beyond] <= allowed):
            break
    last_S = G - np.argmax(cost_SG[:, ::-1] <= allowed, axis=1)
    live = np.flatnonzero((last_S < G) & (value_SG[:, -1] != from_S))
    sides = [(live, last_S[live] + n) for n in (0, 1)]
    inner, outer = (Places(value_SG[at], theta_SGK[at], cost_SG[at]) for at in sides)
    return inner, outer, np.isin(np.arange(S), live)


def _looked_at(
    search: Search, value_SG: Array, theta_K: Array, starts_PK: Array, allowed: float
) -> tuple[Array, Array]:
    """theta (S, G, K) and cost (S, G) below the best of several starts at each place: the least there is where it
    lies beyond all that are allowed, and where it is allowed something that is."""
    problem, (S, G), K = search.problem, value_SG.shape, len(theta_K)
    s_R, value_R, R = np.repeat(np.arange(S), G), value_SG.ravel(), np.arange(S * G)
    pool_PK = np.concatenate([theta_K[None], _bent(problem, theta_K), starts_PK])
    begin_PRK = np.concatenate(
        [np.tile(pool_PK[:, None], (1, S * G, 1)), _following(search, theta_K, s_R, value_R)[None]]
    )

    def down(theta_PRK: Array, R: Index, steps: int) -> tuple[Array, Array]:
        P = len(theta_PRK)
        places = np.tile(s_R[R], P), np.tile(value_R[R], P)
        theta, cost = search.descend(theta_PRK.reshape(-1, K), *places, steps, allowed)
        order_PR = np.argsort(cost.reshape(P, -1), axis=0, kind="stable")
        along = np.arange(len(R))
        return theta.reshape(P, -1, K)[order_PR, along], cost.reshape(P, -1)[order_PR, along]

    theta_PRK, _ = down(begin_PRK, R, 0)
    theta_PRK, cost_PR = down(theta_PRK[:BEST], R, LOOK)
    best_RK, best_R = theta_PRK[0], cost_PR[0]
    allowed_SG = (best_R <= allowed).reshape(S, G)
    last_S = np.where(allowed_SG.any(axis=1), G - np.argmax(allowed_SG[:, ::-1], axis=1), 0)
    left = np.flatnonzero((np.arange(G) >= last_S[:, None]).ravel())
    if len(left):
        theta_PRK, cost_PR = down(theta_PRK[:2, left], left, LEFT)
        best_RK[left], best_R[left] = theta_PRK[0], cost_PR[0]
    return best_RK.reshape(S, G, K), best_R.reshape(S, G)


def _bent(problem: Problem, theta_K: Array) -> Array:
    """The law with steeper and flatter exponents, and with none, its sizes at the pivot kept."""
    bends = [k for move in problem.shape.moves if (k := move.exponent) is not None and problem.free_K[k]]
    bent_PK = np.tile(theta_K, (len(BEND), 1))
    bent_PK[:, bends] = np.multiply.outer(BEND, theta_K[bends])
    return np.clip(bent_PK, *problem.bounds_2K)


def _following(search: Search, theta_K: Array, S: Index, value_R: Array) -> Array:
    """Starts in which something else follows what is held, so that the law stays near the data: with A the exponent,
    its size at the pivot kept; with an exponent the size, at that end of the data where the term is largest."""
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


def _on_the_ground(search: Search, theta_RK: Array) -> Array:
    """theta with floors at their bound, where a valley of its own may lie."""
    theta_RK = theta_RK.copy()
    for k, name in enumerate(search.problem.shape.names):
        if name in FLOORS and search.problem.free_K[k]:
            theta_RK[:, k] = search.problem.bounds_2K[0, k]
    return theta_RK


def _between(search: Search, S: Index, inner: Places, outer: Places, least: float, more: float) -> tuple[Array, Array]:
    """Where the height, sqrt of what the cost is more than the least over what it may be more, less 1, becomes 0
    between an allowed place and one that is not, and theta there: regula falsi."""
    in_R, out_R, theta_in_RK, theta_out_RK = (
        a.copy() for a in (inner.value_R, outer.value_R, inner.theta_RK, outer.theta_RK)
    )
    f_in_R = np.minimum(np.sqrt(np.maximum(inner.cost_R - least, 0.0) / more) - 1, -1e-9)
    f_out_R = np.clip(np.sqrt((outer.cost_R - least) / more) - 1, 1e-9, HIGH)
    between = Brackets(in_R, f_in_R, out_R, f_out_R)
    from_R, at_R, live = in_R.copy(), in_R.copy(), np.arange(len(S))
    for turn in range(TURNS):
        if not len(live):
            break
        share_R = between.share(live)
        if turn % 4 == 3:  # a jump to another valley is found by halves
            share_R[:] = 0.5
        at_R[live] = between.place(live, share_R)
        begin_RK = np.concatenate([theta_in_RK[live], theta_out_RK[live], _on_the_ground(search, theta_in_RK[live])])
        theta_SK, cost_S = search.descend(begin_RK, np.tile(S[live], 3), np.tile(at_R[live], 3), GO_ON)
        theta_SK, cost_S = theta_SK.reshape(3, len(live), -1), cost_S.reshape(3, -1)
        lower_R = np.argmin(cost_S, axis=0)
        theta_RK, cost_R = theta_SK[lower_R, np.arange(len(live))], np.min(cost_S, axis=0)
        f_R = np.minimum(np.sqrt(np.maximum(cost_R - least, 0.0) / more) - 1, HIGH)
        between.narrow(live, at_R[live], f_R)
        theta_out_RK[live[f_R > 0]], theta_in_RK[live[f_R <= 0]] = theta_RK[f_R > 0], theta_RK[f_R <= 0]
        near_R = np.abs(out_R - in_R)[live] <= 1e-7 * np.abs(out_R - from_R)[live]
        live = live[(np.abs(f_R) > 1e-6) & ~near_R]
    return at_R, theta_in_RK
