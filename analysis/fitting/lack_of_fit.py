"""Lack of fit: whether a law misses the means at each x by more than the errors of the points explain.

Between points that share an x (seeds) there is pure error, which no law of x can explain. With N points at P distinct x
and k parameters, in weighted residuals,

    F = (SS - SS_pure) / (P - k) / (SS_pure / (N - P)),

which for normal errors is distributed as F of P - k and N - P degrees of freedom (Draper and Smith 1998, Applied
Regression Analysis, 2.1). Weights that are estimated from the same seeds make large F more frequent; p is then drawn
(analysis/fitting/seed_draws.py). With given standard errors it is the chi-square test of (SS - SS_pure) / sigma^2.
What a law misses beyond these errors: analysis/fitting/discrepancy.py.
Letters: N data, P distinct x, K parameters.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import chdtrc, fdtrc

from analysis.fitting.minimizer import Array
from analysis.fitting.problem import Problem
from analysis.fitting.seed_draws import draw
from analysis.fitting.weights import ROUNDING, places

LEVEL = 0.05  # of significance [1]


class LackOfFit(NamedTuple):
    """The test of a law against the errors of its points."""

    statistic: float  # F, or chi-square where the errors are known
    df: int  # distinct x less parameters
    df_error: int  # of pure error; 0 where the errors are known
    p: float  # probability of so large a statistic where the law holds [1]
    error: float  # size of the errors of residuals times precision

    @property
    def significant(self) -> bool:
        """Whether the points deviate from the law by more than their errors explain."""
        return self.p < LEVEL


def lack_of_fit(problem: Problem, theta_K: Array) -> LackOfFit | None:
    """The test at theta_K, the minimum of the sum of squares; None where the points allow none: one point per x
    without standard errors, points of one x that do not differ, as many parameters as distinct x, or Huber's loss."""
    place_N = places(problem.z_VN)
    P = int(place_N.max()) + 1
    df, df_error = P - int(problem.free_K.sum()), problem.y_N.size - P
    if df <= 0 or not math.isinf(problem.delta):
        return None
    between, pure = squares(problem, theta_K)
    if not math.isnan(problem.sigma):
        chi2 = between / problem.sigma**2
        return LackOfFit(chi2, df, 0, float(chdtrc(df, chi2)), problem.sigma)
    if not pure > problem.y_N.size * ROUNDING**2:  # also where no two points share an x
        return None
    F, error = between / df / (pure / df_error), math.sqrt(pure / df_error)
    if np.ptp(problem.precision_N) == 0:
        return LackOfFit(F, df, df_error, float(fdtrc(df, df_error, F)), error)
    F_S = draw(problem, theta_K).F_S
    return LackOfFit(F, df, df_error, float((1 + np.sum(F_S >= F)) / (1 + len(F_S))), error)


def squares(problem: Problem, theta_K: Array) -> tuple[float, float]:
    """The sum of weighted squared residuals of the means at each x, and that of the points about these means."""
    place_N, r_N = places(problem.z_VN), problem.residual(theta_K[None])[0][0]
    weight_N = problem.weight_N  # of points of one x given ones may differ
    mean_P = np.bincount(place_N, weight_N * r_N) / np.bincount(place_N, weight_N**2)
    between_N = weight_N * mean_P[place_N]
    return float(np.sum(between_N**2)), float(np.sum((r_N - between_N) ** 2))
