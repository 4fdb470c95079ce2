"""Seed draws: a weighted fit simulated together with the estimation of its weights.

Weights that are estimated from 3 to 5 seeds are partly chance, and in their favour: t and F of the weighted fit are
larger than Student's and Fisher's distributions allow for. So both are drawn: variances that the seeds allow
(d_j s_j^2 / chi^2_d, as Box and Tiao 1973, 2.4), samples of seeds with these variances about the law's tangent plane,
their shrunk weights, and the weighted least-squares fit.
Measured coverage: docs/laws.md.
Letters: S draws, P distinct x, K parameters.
"""

from typing import NamedTuple

import numpy as np

from analysis.fitting.minimizer import Array
from analysis.fitting.problem import Problem
from analysis.fitting.weights import places, seed_variances, shrunk

DRAWS = 1000


class SeedDraws(NamedTuple):
    """Statistics of weighted fits to data of which the law is true."""

    rise_SK: Array  # relative increase of the sum of squares at the true value of each parameter [1]
    F_S: Array  # of lack of fit; nan where there are as many parameters as x


def draw(problem: Problem, theta_K: Array) -> SeedDraws:
    """Draws for a problem whose weights are from its seeds, that is, with three points or more at every x."""
    place_N = places(problem.z_VN)
    first_P = np.unique(place_N, return_index=True)[1]
    count_P = np.bincount(place_N)
    df_P, P = count_P - 1, len(count_P)
    variance_P = seed_variances(place_N, np.log(problem.y_N))
    _, J_1NK = problem.residual(theta_K[None])
    J_PK = (J_1NK[0] / problem.weight_N[:, None])[first_P][:, problem.free_K]
    if problem.space == "linear":
        J_PK /= problem.y_N[first_P, None]
    size_K = np.sqrt(np.sum(J_PK**2, axis=0))
    J_PK = J_PK[:, size_K > 0] / size_K[size_K > 0]

    rng = np.random.default_rng(0)
    true_SP = variance_P * df_P / rng.chisquare(df_P, (DRAWS, P))
    mean_SP = rng.standard_normal((DRAWS, P)) * np.sqrt(true_SP / count_P)
    found_SP = true_SP * rng.chisquare(df_P, (DRAWS, P)) / df_P
    shrunk_SP = shrunk(found_SP, df_P)
    weight_SP = count_P / shrunk_SP
    covariance_SKK = np.linalg.pinv(np.einsum("pk,sp,pl->skl", J_PK, weight_SP, J_PK), hermitian=True)
    theta_SK = np.einsum("skl,pl,sp,sp->sk", covariance_SKK, J_PK, weight_SP, mean_SP)
    between_S = np.sum(weight_SP * (mean_SP - theta_SK @ J_PK.T) ** 2, axis=1)
    pure_S = np.sum(df_P * found_SP / shrunk_SP, axis=1)
    variance_SK = np.maximum(covariance_SKK.diagonal(axis1=1, axis2=2), 1e-300)
    rise_SK = theta_SK**2 / variance_SK / (between_S + pure_S)[:, None]
    df = P - int(problem.free_K.sum())
    return SeedDraws(rise_SK, between_S / df / (pure_S / df_P.sum()) if df > 0 else np.full(DRAWS, np.nan))
