"""Lineshapes: the laws as bare functions, after lmfit's module of that name.

Letters: x any positive size (patch side p [px], tokens, FLOPs, GPU-hours); L loss [nats] or error [%]; L_inf the
irreducible loss; L_0 the loss of an uninformed prediction (log K nats for K classes, 100 (1 - 1/K) % of errors); A, B
coefficients (the size of a term at x = 1); alpha, a, b exponents [1].
Sources: shifted arXiv 2502.03738, Figure 1; m4 arXiv 2209.06640, equation 2; broken arXiv 2210.14891, equation 1 with
one break; two variables arXiv 2203.15556, section 3.3.
What fitting needs besides (bounds, transformations, starting values): analysis/fitting/model.py.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Values = np.ndarray  # of float64, or complex128 where derivatives are taken by a complex step
Rows = Sequence[Values] | Values  # one entry per parameter or per variable
X = TypeVar("X", float, Array)
FURTHEST = 700.0  # of an exponent: e^700 is within four powers of ten of the largest float64


def power(x: X, A: float, alpha: float) -> X:
    """A x^alpha [of A]."""
    return A * x**alpha


def shifted(x: X, L_inf: float, A: float, alpha: float) -> X:
    """L_inf + A x^alpha: a power law above an irreducible loss."""
    return L_inf + A * x**alpha


def bounded(x: X, L_inf: float, A: float, alpha: float, L_0: float) -> X:
    """L where (L - L_inf) / (L_0 - L) = A x^alpha: between L_inf and L_0 at every x, as an error rate must be."""
    odds = A * x**alpha
    return (L_inf + L_0 * odds) / (1 + odds)


def m4(x: float | Array, L_inf: float, A: float, alpha: float, gamma: float, L_0: float) -> Values:
    """L where (L - L_inf) / (L_0 - L)^gamma = A x^alpha: bounded with a free curvature gamma [1] > 0."""
    rise = L_0 - L_inf
    with np.errstate(divide="ignore"):
        share = unit_interval_root(np.log(A * np.asarray(x, float) ** alpha) + (gamma - 1) * np.log(rise), gamma)
    return L_inf + rise * share


def broken(x: X, L_inf: float, A: float, alpha: float, beta: float, x_break: float, width: float) -> X:
    """L_inf + A x^alpha (1 + (x / x_break)^(1 / width))^(beta width): exponent alpha below x_break, alpha + beta above,
    with a transition that extends a factor of about e^width on both sides."""
    return L_inf + A * x**alpha * (1 + (x / x_break) ** (1 / width)) ** (beta * width)


def general(x1: X, x2: X, E: float, A: float, a: float, B: float, b: float) -> X:
    """E + A / x1^a + B / x2^b: two variables, both of which reduce the loss as they grow, above a floor E."""
    return E + A / x1**a + B / x2**b


def joint(N: X, p: X, E: float, A: float, a: float, B: float, b: float) -> X:
    """E + A N^-a + B p^b: the loss falls as parameters N [1] grow and as patches p [px] shrink."""
    return E + A * N**-a + B * p**b


# fmt: off
def additive(N: X, p: X, D: X, E: float, A: float, a: float, B: float, b: float, C: float, c: float) -> X:
    """E + A N^-a + B p^b + C D^-c: parameters N [1], patch side p [px], images seen D [1], one term each.
    Source: arXiv 2203.15556, section 3.3, with one more term, for the patch."""
    return E + A * N**-a + B * p**b + C * D**-c
# fmt: on


def surface(N: X, p: X, I: X, A: float, a: float, c: float, B: float, b: float, d: float, e: float) -> X:  # noqa: E741
    """A N^-a I^-c (1 + B p^b N^-d I^-e): the limit p -> 0 of a model of N parameters at an image side I [px], times one
    plus the relative excess at patch side p [px], which is smaller in large models and on large images.
    Source: none, ours. Lowest AICc of the laws of three variables that were tried on Tables 1 and 4
    (docs/results/published.md); sums with one term per variable are off by up to 17 % on Table 4."""
    return A * N**-a * I**-c * (1 + B * p**b * N**-d * I**-e)


# fmt: off
def floored(N: X, p: X, I: X, F: float, M: float, a: float, c: float, B: float, b: float, d: float, e: float) -> X:  # noqa: E741
    """F (1 + (M / N)^a) I^-c (1 + B p^b N^-d I^-e): surface with a floor in the model's term. F I^-c is the limit of
    large N and small p, and M [parameters] the model size at which the reducible part equals that limit.
    Source: none, ours; a floor as in arXiv 2203.15556, section 3.3."""
    return F * (1 + (M / N) ** a) * I**-c * (1 + B * p**b * N**-d * I**-e)
# fmt: on


def exp(z: Values) -> Values:
    """e^z without overflow, also for complex numbers with a small imaginary part."""
    if np.iscomplexobj(z):
        return np.exp(np.minimum(np.maximum(z.real, -FURTHEST), FURTHEST) + 1j * z.imag)  # faster than clip
    return np.exp(np.clip(z, -FURTHEST, FURTHEST))


def softplus(z: Values) -> Values:
    """log(1 + e^z)."""
    up = z.real > 0
    return np.where(up, z, 0) + np.log1p(exp(np.where(up, -z, z)))


def unit_interval_root(odds: Values, gamma: Values | float) -> Values:
    """q in (0, 1) where log q - gamma log(1 - q) = odds, by Newton's method on s, q = 1 / (1 + e^-s): as a function of
    s the left side rises with a slope between 1 and gamma and is convex or concave, so that every start converges."""
    s = np.where(odds.real > 0, odds / gamma, odds) + 0 * gamma
    for _ in range(60):
        step = (odds + softplus(-s) - gamma * softplus(s)) / (1 / (1 + exp(s)) + gamma / (1 + exp(-s)))
        s = s + step
        if np.all(np.abs(step) <= 1e-14 * (1 + np.abs(s))):
            break
    return 1 / (1 + exp(-s))
