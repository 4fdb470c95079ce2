"""Initial guesses: many starting values for every form; each form of FORMS has one of these functions.

For a grid of floors and exponents the remaining parameters, in which the law is then linear, are solved for by linear
least squares.
Letters: S starts, N data, V variables.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from analysis.fitting.lineshapes import exp, softplus
from analysis.fitting.minimizer import Array

if TYPE_CHECKING:
    from analysis.fitting.problem import Problem  # which imports the forms, and so this file

FLOORS = (0.0, 0.3, 0.6, 0.8, 0.9, 0.96, 0.99, 0.999)  # of L_inf, as shares of the least y
STEEP = (0.01, 0.03, 0.1, 1.0)  # shares of the steepest exponent
GAMMAS = (0.2, 0.5, 1.0, 2.0)
WIDTHS = (0.1, 0.5)
EXPONENTS = (0.08, 0.16, 0.32, 0.64, 1.28)  # of two variables, of both signs
FLOOR_SHARES = (0.3, 0.7, 1.0)  # irreducible fraction of a model's error, in the floored law
SHARES = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3)  # assumed relative excess at the smallest patch, in the surface law
MANY = 200  # data: of more than these the grid of two variables uses a subsample of this size


def initial_guesses(problem: Problem, given_K: Array) -> Array:
    """theta (S, K) of the starting values. given_K: the given parameters, nan for the others."""
    with np.errstate(all="ignore"):
        starts_SK = np.array(problem.shape.guess(problem, given_K))
        starts_SK = np.where(np.isnan(given_K), starts_SK, given_K)
        starts_SK = np.clip(starts_SK, *problem.bounds_2K)
        sane_S = np.all(np.isfinite(starts_SK), axis=1)
        return starts_SK[sane_S]


def _relative(problem: Problem) -> Array:
    """log x relative to the pivot."""
    return np.asarray(problem.z_VN[0] - problem.pivot_V[0], np.float64)


def _floors(problem: Problem) -> list[float]:
    return [share * float(problem.y_N.min()) for share in FLOORS]


def _solve(columns: list[Array], target_N: Array) -> Array:
    """Least squares; nan, which is no start, where a column or the target is not finite."""
    matrix_NC = np.stack(columns, axis=1)
    if not (np.all(np.isfinite(matrix_NC)) and np.all(np.isfinite(target_N))):
        return np.full(len(columns), np.nan)
    return np.asarray(np.linalg.lstsq(matrix_NC, target_N, rcond=None)[0], np.float64)


def power(problem: Problem, _: Array) -> list[list[float]]:
    """The straight line through log y."""
    z_N = _relative(problem)
    return [list(_solve([np.ones_like(z_N), z_N], np.log(problem.y_N)))]


def shifted(problem: Problem, given_K: Array) -> list[list[float]]:
    """Straight lines through log(y - L_inf), and steep bends where the exponent is not given."""
    z_N, y_N = _relative(problem), problem.y_N
    lines = [[floor, *_solve([np.ones_like(z_N), z_N], np.log(y_N - floor))] for floor in _floors(problem)]
    return lines + (_steep(problem, z_N, y_N) if np.isnan(given_K[2]) else [])


def saturating(problem: Problem, given_K: Array) -> list[list[float]]:
    """Straight lines through log(y - L_inf) - gamma log(L_0 - y); gamma is 1 where it is no parameter."""
    z_N, y_N, top = _relative(problem), problem.y_N, float(given_K[-1])
    has_gamma = "gamma" in problem.shape.names
    found = []
    for floor, gamma in itertools.product(_floors(problem), GAMMAS if has_gamma else (1.0,)):
        line = _solve([np.ones_like(z_N), z_N], np.log(y_N - floor) - gamma * np.log(top - y_N))
        found.append([floor, *line, *([gamma] if has_gamma else []), top])
    return found


def _steep(problem: Problem, z_N: Array, y_N: Array) -> list[list[float]]:
    """L_inf and A by least squares of f / y - 1 for given exponents; the steepest bend at one point only."""
    found = []
    for share, end in itertools.product(STEEP, (z_N.max(), z_N.min())):
        alpha = share * float(problem.bounds_2K[1, 2]) * (1 if end == z_N.max() else -1)
        floor, size = _solve([1 / y_N, exp(alpha * (z_N - end)) / y_N], np.ones_like(y_N))
        floor = float(np.clip(floor, 0.0, 0.999 * y_N.max()))
        found.append([floor, float(np.log(max(size, 1e-3 * y_N.max()))) - alpha * float(end), alpha])
    return found


def broken(problem: Problem, _: Array) -> list[list[float]]:
    """Two straight lines that meet, for breaks between the data points."""
    z_N = problem.z_VN[0] - problem.pivot_V[0]
    places = np.unique(z_N)
    breaks = (places[1:-2] + places[2:-1]) / 2
    found = []
    for floor, place, width in itertools.product(_floors(problem)[::2], breaks, WIDTHS):
        bend_N = width * softplus((z_N - place) / width)
        found.append(
            [
                floor,
                *_solve([np.ones_like(z_N), z_N, bend_N], np.log(problem.y_N - floor)),
                float(place),
                float(np.log(width)),
            ]
        )
    return found


def two_variables(problem: Problem, _: Array) -> list[list[float]]:
    """E, A and B by non-negative least squares of f / y - 1, for a grid of exponents; A and B as logarithms:
    log f = log(E + e^(log A - a log x1) + e^(log B - b log x2))."""
    from scipy.optimize import nnls  # 0.3 s to import, not needed for laws of one variable

    take = slice(None, None, -(-problem.y_N.size // MANY))
    z_VN, y_N = (problem.z_VN - problem.pivot_V[:, None])[:, take], problem.y_N[take]
    sign = -problem.shape.moves[1].sign
    signed = [s * e for e in EXPONENTS for s in (1, -1)]
    found = []
    for a, b in itertools.product(signed, signed):
        terms_N3 = np.stack([np.ones_like(y_N), exp(-a * z_VN[0]), exp(-sign * b * z_VN[1])], axis=1) / y_N[:, None]
        sizes, cost = nnls(terms_N3, np.ones_like(y_N))
        least = 1e-3 * y_N.min()
        found.append((cost, [sizes[0], np.log(max(sizes[1], least)), a, np.log(max(sizes[2], least)), b]))
    return [start for _, start in sorted(found, key=lambda one: one[0])[:16]]


def three_variables(problem: Problem, _: Array) -> list[list[float]]:
    """As two_variables, with a third term; exponents with which every term reduces the loss in its direction."""
    from scipy.optimize import nnls

    take = slice(None, None, -(-problem.y_N.size // MANY))
    z_VN, y_N = (problem.z_VN - problem.pivot_V[:, None])[:, take], problem.y_N[take]
    sign_V, least = np.array([-1.0, 1.0, -1.0]), 1e-3 * y_N.min()
    found = []
    for exponents in itertools.product(EXPONENTS, repeat=3):
        terms_VN = exp((sign_V * exponents)[:, None] * z_VN)
        sizes, cost = nnls(np.stack([np.ones_like(y_N), *terms_VN], axis=1) / y_N[:, None], np.ones_like(y_N))
        A, B, C = np.log(np.maximum(sizes[1:], least))
        a, b, c = exponents
        found.append((cost, [sizes[0], A, a, B, b, C, c]))
    return [start for _, start in sorted(found, key=lambda one: one[0])[:16]]


def surface(problem: Problem, _: Array) -> list[list[float]]:
    """Planes through log y at the smallest x2, less an assumed relative excess there; then planes through the log of
    the excess of the other points. With a floor in the model's term, for several shares of the plane as floor."""
    z_VN, log_N = problem.z_VN - problem.pivot_V[:, None], np.log(problem.y_N)
    one_N, least = np.ones_like(log_N), z_VN[1] == z_VN[1].min()
    found = []
    for share in SHARES:
        columns = [one_N, -z_VN[0], -z_VN[2]]
        plane = _solve([column[least] for column in columns], log_N[least] - np.log1p(share))
        rest_N = log_N - sum(k * column for k, column in zip(plane, columns, strict=True))
        miss = _solve([one_N, z_VN[1], -z_VN[0], -z_VN[2]], np.log(np.maximum(np.expm1(rest_N), 1e-3)))
        if "M" not in problem.shape.names:
            found.append([*plane, *miss])
            continue
        for floor, a in itertools.product(FLOOR_SHARES, EXPONENTS[2:]):
            found.append([plane[0] + np.log(floor) - np.log(2), 0.0, a, plane[2], *miss])
    return found
