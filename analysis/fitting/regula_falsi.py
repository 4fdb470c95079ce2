"""Regula falsi, many roots at once: where the height of a profile above its minimum reaches a threshold.

Letters: S searches (R those under way).
"""

from collections.abc import Callable

import numpy as np

from analysis.fitting.minimizer import Array, Index

DOUBLINGS = 24  # a search that has not crossed after 2^23 first steps (standard errors) has no root
HIGH = 1e3  # heights above this, infinity among them, count as this: a secant needs a number


class Brackets:
    """Brackets of the roots of a height, inner_S where it is at most 0 and outer_S where it is above, narrowed in place
    by regula falsi with the Illinois modification, which avoids one-sided convergence. live: indices among S."""

    def __init__(self, inner_S: Array, f_inner_S: Array, outer_S: Array, f_outer_S: Array) -> None:
        self.inner_S, self.f_inner_S, self.outer_S, self.f_outer_S = inner_S, f_inner_S, outer_S, f_outer_S
        self.side_S = np.zeros(len(inner_S))  # of the last evaluation

    def share(self, live: Index) -> Array:
        """Position of the secant's root between inner (0) and outer (1)."""
        return self.f_inner_S[live] / (self.f_inner_S[live] - self.f_outer_S[live])

    def place(self, live: Index, share_R: Array) -> Array:
        return self.inner_S[live] + share_R * (self.outer_S[live] - self.inner_S[live])

    def narrow(self, live: Index, at_R: Array, f_R: Array) -> None:
        """Replace one end of each bracket by the evaluated place at_R with height f_R."""
        side_R, up_R = np.where(f_R > 0, 1.0, -1.0), f_R > 0
        again_R = np.where(side_R == self.side_S[live], 0.5, 1.0)
        self.side_S[live] = side_R
        rose, fell = live[up_R], live[~up_R]
        self.f_inner_S[rose] *= again_R[up_R]
        self.f_outer_S[fell] *= again_R[~up_R]
        self.outer_S[rose], self.f_outer_S[rose] = at_R[up_R], f_R[up_R]
        self.inner_S[fell], self.f_inner_S[fell] = at_R[~up_R], f_R[~up_R]


def crossings(height: Callable[[Array, Index], Array], start_S: Array, step_S: Array, limit_S: Array) -> Array:
    """The root of height(t, which), which is -1 at start and rises about linearly along step, of S searches at once.

    A search that reaches its limit below 0 returns the limit. One that never rises to 0 returns +-inf."""
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
