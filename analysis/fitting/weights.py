"""Weights: the relative precision of each point, from given standard errors or from the spread between seeds.

Least squares of log y assumes errors of one size. Where every x has three points or more (seeds), their variances are
estimated, and an estimate of 2 to 4 degrees of freedom is so uncertain that weights 1 / s^2 do harm: an s that is small
by chance gives its x the whole law. So each variance is shrunk towards the common one,

    s~_j^2 = (d0 s0^2 + d_j s_j^2) / (d0 + d_j),

with d0 and s0 from the scatter of log s_j^2 beyond that of samples of d_j degrees of freedom. Seeds that scatter no
more than that have d0 = inf, that is, equal weights: the pooled variance.
Source: Smyth 2004, Statistical Applications in Genetics and Molecular Biology 3, sections 4 and 6.2 (limma).
Letters: N data, P distinct x, V variables.
"""

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import polygamma, psi

from analysis.fitting.minimizer import Array, Index

FEWEST_SEEDS = 3  # points at every x, for an estimate of its own
SMALLEST = 1e-4  # a variance of fewer seeds' chance agreement is taken as this part of the largest [1]


def weights(z_VN: Array, y_N: Array, sigma_N: Array | None, space: str) -> tuple[Array, float]:
    """The factor (N,) of each residual, of mean square 1, and the size of the errors of the weighted residuals; nan
    where it is estimated from the residuals. sigma_N: given standard errors of log y; None: from seeds, if any."""
    known = sigma_N is not None
    if sigma_N is None and (sigma_N := seed_sigmas(z_VN, np.log(y_N))) is None:
        return np.ones_like(y_N), math.nan
    error_N = sigma_N if space == "log" else sigma_N * y_N
    precision_N = 1 / error_N
    size = 1 / math.sqrt(float(np.mean(precision_N**2)))
    return precision_N * size, size if known else math.nan


def places(z_VN: Array) -> Index:
    """The index (N,) of each point's x among the distinct ones."""
    return np.ravel(np.unique(z_VN, axis=1, return_inverse=True)[1])


def seed_sigmas(z_VN: Array, log_y_N: Array) -> Array | None:
    """The standard deviation (N,) of log y at each point's x, between points that share it, shrunk; None where one is
    taken for all: where some x has fewer than FEWEST_SEEDS points, or the spreads differ by no more than chance."""
    place_N = places(z_VN)
    count_P = np.bincount(place_N)
    if len(count_P) < 2 or count_P.min() < FEWEST_SEEDS:
        return None
    off_N = log_y_N - (np.bincount(place_N, log_y_N) / count_P)[place_N]
    variance_P = np.bincount(place_N, off_N**2) / (count_P - 1)
    if not variance_P.max() > (1e-13) ** 2:
        return None
    shrunk_P = shrunk(np.maximum(variance_P, SMALLEST * variance_P.max()), count_P - 1.0)
    return None if shrunk_P is None else np.sqrt(shrunk_P)[place_N]


def shrunk(variance_P: Array, df_P: Array) -> Array | None:
    """Variances shrunk towards a common one; None where they scatter no more than samples of df_P degrees of freedom
    of one variance."""
    half_P = df_P / 2
    level_P = np.log(variance_P) - psi(half_P) + np.log(half_P)
    beyond = float(level_P.var(ddof=1) - polygamma(1, half_P).mean())
    if beyond <= 0:
        return None
    # trigamma(d0 / 2) falls from inf to 0, as 2 / d0 for large d0
    half = float(brentq(lambda log_half: float(polygamma(1, math.exp(log_half))) - beyond, -20.0, 20.0))
    d0 = 2 * math.exp(half)
    common = math.exp(float(level_P.mean()) + float(psi(d0 / 2)) - math.log(d0 / 2))
    return np.asarray((d0 * common + df_P * variance_P) / (d0 + df_P), np.float64)
