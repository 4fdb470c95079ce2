"""Weights: the relative precision of each point, from given standard errors or from the spread between seeds.

Least squares of log y assumes errors of one size. Where every x has three points or more (seeds), their variances are
estimated. An estimate of 2 to 4 degrees of freedom is so uncertain that weights 1 / s^2 do harm: an s that is small by
chance gives its x the whole law. So each variance is shrunk towards the common one,

    s~_j^2 = (d0 s0^2 + d_j s_j^2) / (d0 + d_j),

with d0 and s0 from the scatter of log s_j^2 beyond that of samples of d_j degrees of freedom. Seeds that scatter no
more than that have d0 = inf, that is, equal weights: the pooled variance.
Source: Smyth 2004, Statistical Applications in Genetics and Molecular Biology 3, article 3, section 6.2 (limma).
Letters: S samples, N data, P distinct x, V variables.
"""

import math

import numpy as np
from scipy.special import polygamma, psi

from analysis.fitting.minimizer import Array, Index

FEWEST_SEEDS = 3  # points at every x, for an estimate of its own
SMALLEST = 1e-4  # a variance is taken as at least this part of the largest [1]
ROUNDING = 1e-13  # of log y [1]


def precisions(z_VN: Array, y_N: Array, sigma_N: Array | None, space: str) -> tuple[Array, float]:
    """The relative precision (N,) of each point, of mean square 1, and the size of the errors of residuals times
    precision; nan where it is estimated from the residuals. sigma_N: given standard errors of log y; None: from seeds,
    if any."""
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
    variance_P = seed_variances(place_N, log_y_N)
    if not variance_P.max() > ROUNDING**2:
        return None
    shrunk_P = shrunk(variance_P[None], count_P - 1)[0]
    return None if np.ptp(shrunk_P) == 0 else np.sqrt(shrunk_P)[place_N]


def seed_variances(place_N: Index, log_y_N: Array) -> Array:
    """The variance (P,) of log y between the points of each x, which has two or more; at least SMALLEST of the
    largest."""
    variance_P = squares_about_means(place_N, log_y_N) / (np.bincount(place_N) - 1)
    return np.asarray(np.maximum(variance_P, SMALLEST * variance_P.max()), np.float64)


def squares_about_means(place_N: Index, log_y_N: Array) -> Array:
    """The sum (P,) of squared deviations of log y from the mean of each x."""
    mean_P = np.bincount(place_N, log_y_N) / np.bincount(place_N)
    return np.asarray(np.bincount(place_N, (log_y_N - mean_P[place_N]) ** 2), np.float64)


def shrunk(variance_SP: Array, df_P: Index) -> Array:
    """Variances (S, P) of df_P degrees of freedom, shrunk towards the common one of their sample; the pooled one where
    they scatter no more than by chance."""
    half_P = df_P / 2
    level_SP = np.log(variance_SP) - psi(half_P) + np.log(half_P)
    beyond_S = level_SP.var(axis=1, ddof=1) - polygamma(1, half_P).mean()
    unequal_S = beyond_S > 1e-6
    half_S = _trigamma_inverse(np.where(unequal_S, beyond_S, 1.0))
    common_S = np.exp(level_SP.mean(axis=1) + psi(half_S) - np.log(half_S))
    d0_S1 = 2 * half_S[:, None]
    shrunk_SP = (d0_S1 * common_S[:, None] + df_P * variance_SP) / (d0_S1 + df_P)
    pooled_S1 = (variance_SP @ df_P / df_P.sum())[:, None]
    return np.asarray(np.where(unequal_S[:, None], shrunk_SP, pooled_S1), np.float64)


def _trigamma_inverse(value_S: Array) -> Array:
    """y with trigamma(y) = value > 0, by Newton's method on 1 / trigamma, which is convex (Smyth 2004, appendix)."""
    y_S = 0.5 + 1 / value_S
    for _ in range(10):
        trigamma_S = polygamma(1, y_S)
        y_S = y_S + trigamma_S * (1 - trigamma_S / value_S) / polygamma(2, y_S)
    return np.asarray(y_S, np.float64)
