"""Laws: fits of loss as a function of patch size (or tokens, or cost), with profile-likelihood intervals.

    power    L = A x^alpha
    shifted  L = L_inf + A x^alpha, L_inf >= 0: the published figures' axes are log(L - L_inf), arXiv 2502.03738, Fig. 1
    bounded, m4    between L_inf and a known upper bound L_0 (error rates)      broken    two exponents, from 8 sizes
    general  L = E + A / x1^a + B / x2^b      joint    L = E + A N^-a + B p^b: two variables, by fit2
    surface  L = A N^-a I^-c (1 + B p^b N^-d I^-e): model, patch and image, by fit3      floored    with a floor in N
    additive L = E + A N^-a + B p^b + C D^-c: model, patch and images seen, by fit3
L loss [nats], x patch side [px] or any other positive variable. As functions: analysis/fitting/lineshapes.py.

Fits minimise the sum of squared residuals of log L, each weighed by its standard error where that is given, or by the
spread between seeds where every x has three (analysis/fitting/weights.py). Intervals are profile likelihood for normal
errors of log L, that is, of the same objective, so that an estimate never lies outside its interval. With loss="huber"
Huber's loss is minimised (delta 1e-3 as in arXiv 2203.15556, Appendix D.3), which limits the influence of outliers; the
intervals are then those of Huber's profile (analysis/fitting/likelihood_ratio.py). With so small a delta it is nearly
the sum of absolute residuals: for an even number of points the minimum may be a range, of which the end towards the
least-squares law is returned.
For a law that is linear in its parameters the interval is the textbook's. With five points and three parameters it is
wide, or reaches L_inf = 0, or has no end; the parameter is then "not identified".
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import Unpack

from analysis.fitting.discrepancy import with_discrepancy
from analysis.fitting.initial_guesses import initial_guesses
from analysis.fitting.lack_of_fit import lack_of_fit
from analysis.fitting.minimizer import huber
from analysis.fitting.model import FORMS
from analysis.fitting.multistart import at_infinity, best_minimum
from analysis.fitting.problem import Problem, build_problem
from analysis.fitting.result import Fit
from analysis.fitting.validation import check_choices, checked, checked_sigma

__all__ = ["Fit", "fit", "fit2", "fit3"]

HUBER_DELTA = 1e-3  # of log L [1]
LARGEST_DELTA = 1e6  # of log L, or of the largest y: for all residuals below it Huber's loss is the sum of squares
OPTIMISER = "batched Levenberg-Marquardt, complex-step derivatives"


class FitOptions(TypedDict, total=False):
    """Options of fit."""

    space: str
    loss: str
    delta: float
    confidence: float
    given: Mapping[str, float] | None
    sigma: ArrayLike | None


def fit(
    x: ArrayLike,
    y: ArrayLike,
    form: str = "power",
    *,
    space: str = "log",
    loss: str = "squares",
    delta: float = HUBER_DELTA,
    confidence: float = 0.95,
    given: Mapping[str, float] | None = None,
    sigma: ArrayLike | None = None,
) -> Fit:
    """Fit a law to points (x, y).
    x: (n,) > 0, patch side [px] or another size.  y: (n,) > 0, test loss [nats].  Points that share an x (seeds)
    count as separate points. Needs as many distinct x as the form has parameters, and one point more for intervals.
    form: power, shifted, bounded, m4, broken.  space: residuals of "log" y, or of y itself ("linear").
    loss: "squares", or "huber" with delta in units of the residuals.
    given: parameters held at known values, as {"L_inf": 0.8}; bounded and m4 need L_0 there.
    sigma: (n,) > 0, the known standard error of each y divided by y [1]: each residual is weighed by its inverse, and
    the intervals are of these errors.  None: weights from the spread between seeds where every x has three points or
    more (analysis/fitting/weights.py), else equal weights.
    Raises ValueError, with the numbers, for invalid input."""
    return _fit((x,), y, form, space=space, loss=loss, delta=delta, confidence=confidence, given=given, sigma=sigma)


def fit2(x1: ArrayLike, x2: ArrayLike, y: ArrayLike, form: str = "general", **options: Unpack[FitOptions]) -> Fit:
    """Fit a law of two variables to points (x1, x2, y): "general" E + A / x1^a + B / x2^b, or "joint" E + A x1^-a +
    B x2^b of parameters and patch sides.
    x1, x2: (n,) > 0.  y: (n,) > 0.  n: 5 or more (6 for intervals), with two distinct x1 and x2 or more.  options:
    space, loss, delta, confidence, given, sigma, as for fit."""
    return _fit((x1, x2), y, form, **options)


def fit3(
    x1: ArrayLike, x2: ArrayLike, x3: ArrayLike, y: ArrayLike, form: str = "surface", **options: Unpack[FitOptions]
) -> Fit:
    """Fit a law of three variables to points: "surface" A N^-a I^-c (1 + B p^b N^-d I^-e) of parameters x1, patch sides
    x2 [px] and image sides x3 [px], "floored", F (1 + (M / N)^a) in the place of A N^-a, or "additive", E + A x1^-a +
    B x2^b + C x3^-c, where x3 may be images seen.
    x1, x2, x3, y: (n,) > 0, n 8 or more, and one more for intervals (surface, additive: 7). options: as for fit2."""
    return _fit((x1, x2, x3), y, form, **options)


def _fit(
    x: Sequence[ArrayLike],
    y: ArrayLike,
    form: str,
    *,
    space: str = "log",
    loss: str = "squares",
    delta: float = HUBER_DELTA,
    confidence: float = 0.95,
    given: Mapping[str, float] | None = None,
    sigma: ArrayLike | None = None,
) -> Fit:
    given = given or {}
    check_choices(form, space, loss, delta, confidence, len(x))
    x_VN, y_N = checked(x, y, form, given)
    sigma_N = None if sigma is None else checked_sigma(sigma, y_N.size)
    largest = LARGEST_DELTA * (1.0 if space == "log" else float(y_N.max()))
    if loss == "huber" and delta > largest:
        raise ValueError(f"delta {delta:g} exceeds every residual ({largest:g}); loss='squares' is that limit")
    errors = None if sigma_N is None else sigma_N.tobytes()
    known = tuple(given.items())
    return _law(len(x), x_VN.tobytes(), y_N.tobytes(), form, space, loss, delta, confidence, known, errors)


@lru_cache(maxsize=512)  # tables, report and figures use the same laws, intervals and bands
def _law(
    V: int,
    x: bytes,
    y: bytes,
    form: str,
    space: str,
    loss: str,
    delta: float,
    confidence: float,
    known: tuple[tuple[str, float], ...],
    sigma: bytes | None,
) -> Fit:
    """The law of checked points. x, y, sigma: bytes of (V, N), (N,) and (N,) numbers, so that a cached Fit has
    read-only data."""
    shape, given = FORMS[form], dict(known)
    x_VN, y_N = np.frombuffer(x).reshape(V, -1), np.frombuffer(y)
    sigma_N = None if sigma is None else np.frombuffer(sigma)
    delta = delta if loss == "huber" else math.inf
    problem, given_K = build_problem(shape, x_VN, y_N, space, confidence, delta, given, sigma_N)
    theta_SK = initial_guesses(problem, given_K)
    best, others_PK = best_minimum(replace(problem, delta=math.inf), theta_SK)
    if loss == "huber":
        best, others_PK = best_minimum(problem, np.concatenate([best.theta_SK, theta_SK]))
    best = at_infinity(problem, best)
    cost, tested = float(best.cost_S[0]), lack_of_fit(problem, best.theta_SK[0])
    if tested is not None and tested.significant:
        problem = with_discrepancy(problem, best.theta_SK[0], tested)
        best, others_PK = best_minimum(problem, np.concatenate([best.theta_SK, theta_SK]))
        best = at_infinity(problem, best)
    theta_K = best.theta_SK[0]
    r_N = problem.residual(theta_K[None])[0][0]
    about_N = np.log(y_N) - np.log(y_N).mean()
    log_r_N = np.log(y_N) - np.log(problem.law(theta_K, np.log(x_VN)))
    unit = problem.unit
    return Fit(
        form=form,
        parameters=dict(zip(shape.names, map(float, problem.natural(theta_K)), strict=True)) | given,
        given=given,
        residuals=-r_N / problem.weight_N * unit,
        loss=float(np.sum(huber(r_N, problem.delta))) * unit**2 * (0.5 if loss == "huber" else 1.0),
        objective=loss,
        delta=problem.delta * unit,
        r2=float(1 - np.sum(log_r_N**2) / np.sum(about_N**2)),
        lack_of_fit=tested,
        cost=cost,
        n=y_N.size,
        starts=len(theta_SK),
        slope=float(best.slope_S[0]),
        converged=bool(best.converged_S[0]),
        space=space,
        confidence=confidence,
        why_no_intervals=_why_no_intervals(problem, bool(best.converged_S[0])),
        x=x_VN[0] if V == 1 else x_VN,
        y=y_N,
        problem=problem,
        theta_K=theta_K,
        other_minima_PK=others_PK,
    )


def _why_no_intervals(problem: Problem, converged: bool) -> str:
    k = int(problem.free_K.sum())
    if problem.df <= 0:
        return f"{problem.y_N.size} points, {k} parameters"
    return "" if converged else "the fit did not converge"
