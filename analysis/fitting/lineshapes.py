"""Forms: the shapes that a law can have. First the laws themselves, as bare functions; then what fitting needs of them.

Letters: x any positive size (patch side p [px], tokens, FLOPs, GPU-hours); L loss [nats] or error [%]; L_inf what is
left at the end, L_0 what knowing nothing gives (log K nats for K classes, 100 (1 - 1/K) % of errors); A, B sizes of a
term where its x is 1; alpha, a, b exponents [1].
Sources: shifted arXiv 2502.03738, Figure 1; m4 arXiv 2209.06640, equation 2; broken arXiv 2210.14891, equation 1 with
one break; two variables arXiv 2203.15556, section 3.3.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

FURTHEST = 700.0  # of an exponent: e^700 is the last power of ten but three that a float64 holds


def power(x: Any, A: float, alpha: float) -> Any:
    """A x^alpha [of A]."""
    return A * x**alpha


def shifted(x: Any, L_inf: float, A: float, alpha: float) -> Any:
    """L_inf + A x^alpha: a power law above what cannot be learned."""
    return L_inf + A * x**alpha


def bounded(x: Any, L_inf: float, A: float, alpha: float, L_0: float) -> Any:
    """L where (L - L_inf) / (L_0 - L) = A x^alpha: between L_inf and L_0 for every x, as an error rate has to be."""
    odds = A * x**alpha
    return (L_inf + L_0 * odds) / (1 + odds)


def m4(x: Any, L_inf: float, A: float, alpha: float, gamma: float, L_0: float) -> Any:
    """L where (L - L_inf) / (L_0 - L)^gamma = A x^alpha: bounded with a bend of its own, gamma [1] > 0."""
    rise = L_0 - L_inf
    with np.errstate(divide="ignore"):
        share = _share(np.log(A * np.asarray(x, float) ** alpha) + (gamma - 1) * np.log(rise), gamma)
    return L_inf + rise * share


def broken(x: Any, L_inf: float, A: float, alpha: float, beta: float, x_break: float, width: float) -> Any:
    """L_inf + A x^alpha (1 + (x / x_break)^(1 / width))^(beta width): exponent alpha below x_break, alpha + beta above,
    passing over within a factor of about e^width on both sides."""
    return L_inf + A * x**alpha * (1 + (x / x_break) ** (1 / width)) ** (beta * width)


def general(x1: Any, x2: Any, E: float, A: float, a: float, B: float, b: float) -> Any:
    """E + A / x1^a + B / x2^b: two sizes that both pay, and a floor E under them."""
    return E + A / x1**a + B / x2**b


def joint(N: Any, p: Any, E: float, A: float, a: float, B: float, b: float) -> Any:
    """E + A N^-a + B p^b: parameters N [1] that pay as they grow, patches p [px] as they shrink."""
    return E + A * N**-a + B * p**b


def surface(N: Any, p: Any, I: Any, A: float, a: float, c: float, B: float, b: float, d: float, e: float) -> Any:  # noqa: E741
    """A N^-a I^-c (1 + B p^b N^-d I^-e): what a model of N parameters at an image side I [px] would reach with patches
    of nothing, and the share by which patches of p [px] miss it, less in large models and large images.
    Source: none, ours. Of the laws of three variables that were tried on Tables 1 and 4 (docs/results.md) the best by
    AICc; sums of a term each miss Table 4 by up to 17 %."""
    return A * N**-a * I**-c * (1 + B * p**b * N**-d * I**-e)


# fmt: off
def floored(N: Any, p: Any, I: Any, F: float, M: float, a: float, c: float, B: float, b: float, d: float, e: float) -> Any:  # noqa: E501, E741
    """F (1 + (M / N)^a) I^-c (1 + B p^b N^-d I^-e): surface with a floor in the model's term. F I^-c is what a model
    without end would be left with, and M [parameters] the size at which a model's own term is as large as that.
    Source: none, ours; a floor as in arXiv 2203.15556, section 3.3."""
    return F * (1 + (M / N) ** a) * I**-c * (1 + B * p**b * N**-d * I**-e)
# fmt: on


class Move(NamedTuple):
    """How a parameter changes with the unit of x: as fitted it is that of x / e^pivot, and
    at pivot 0 = as fitted + sign * parameters[exponent] * pivot; + pivot itself where there is no exponent."""

    parameter: int
    exponent: int | None
    variable: int
    sign: int


class Form(NamedTuple):
    """A law's shape. theta holds its parameters as they are fitted: sizes as logarithms, which `logs` says."""

    law: Callable[..., Any]  # one of the functions above
    names: tuple[str, ...]  # its parameters
    value: Callable[..., Any]  # (theta, z) -> L, for theta and z = log x along first axes, of complex numbers too
    solve: Callable[..., Any]  # (L, theta, z) -> the parameter `anchor` with which the law passes through L
    logs: tuple[bool, ...]
    low: tuple[float, ...]  # bounds of theta
    high: tuple[float, ...]
    moves: tuple[Move, ...]
    anchor: int
    text: str  # with {A}, {alpha}, ..., {x}
    units: tuple[int, ...]  # the power of the unit of L that each parameter has
    variables: int = 1
    fewest: int = 0  # different x that it needs, where that is more than it has parameters
    known: tuple[str, ...] = ()  # parameters that are never fitted but have to be given
    unit_falls: tuple[int, int] | None = None  # (parameter, by): the power of its unit is less by another parameter

    def given_between(self, name: str) -> tuple[float, float]:
        """The least and the largest value with which a parameter makes a law."""
        k = self.names.index(name)
        low, high = self.low[k], self.high[k]
        return (float(np.exp(low)), float(np.exp(high))) if self.logs[k] else (low, high)


def exp(z: Any) -> Any:
    """e^z without overflow, of complex numbers with a small imaginary part too."""
    if np.iscomplexobj(z):
        return np.exp(np.minimum(np.maximum(z.real, -FURTHEST), FURTHEST) + 1j * z.imag)  # faster than clip of so few
    return np.exp(np.clip(z, -FURTHEST, FURTHEST))


def softplus(z: Any) -> Any:
    """log(1 + e^z)."""
    up = z.real > 0
    return np.where(up, z, 0) + np.log1p(exp(np.where(up, -z, z)))


def _share(odds: Any, gamma: Any) -> Any:
    """q between 0 and 1 where log q - gamma log(1 - q) = odds, by Newton's method on s, q = 1 / (1 + e^-s): there the
    left side rises with a slope between 1 and gamma and bends one way only, so that no start fails."""
    s = np.where(odds.real > 0, odds / gamma, odds) + 0 * gamma
    for _ in range(60):
        step = (odds + softplus(-s) - gamma * softplus(s)) / (1 / (1 + exp(s)) + gamma / (1 + exp(-s)))
        s = s + step
        if np.all(np.abs(step) <= 1e-14 * (1 + np.abs(s))):
            break
    return 1 / (1 + exp(-s))


def _power(t: Any, z: Any) -> Any:
    return exp(t[0] + t[1] * z[0])


def _shifted(t: Any, z: Any) -> Any:
    return t[0] + exp(t[1] + t[2] * z[0])


def _bounded(t: Any, z: Any) -> Any:
    return t[0] + (t[3] - t[0]) / (1 + exp(-t[1] - t[2] * z[0]))


def _m4(t: Any, z: Any) -> Any:
    rise = t[4] - t[0]
    return t[0] + rise * _share(t[1] + t[2] * z[0] + (t[3] - 1) * np.log(rise), t[3])


def _solve_m4(L: Any, t: Any, z: Any) -> Any:
    return np.log(L - t[0]) - t[3] * np.log(t[4] - L) - t[2] * z[0]


def _bend(t: Any, z: Any) -> Any:
    width = exp(t[5])
    return t[2] * z[0] + t[3] * width * softplus((z[0] - t[4]) / width)


def _surface(t: Any, z: Any) -> Any:
    return exp(t[0] - t[1] * z[0] - t[2] * z[2] + softplus(_miss(t[3:], z)))


def _floored(t: Any, z: Any) -> Any:
    return exp(t[0] + softplus(t[2] * (t[1] - z[0])) - t[3] * z[2] + softplus(_miss(t[4:], z)))


def _miss(t: Any, z: Any) -> Any:
    """log of B p^b N^-d I^-e; t: log B, b, d, e."""
    return t[0] + t[1] * z[1] - t[2] * z[0] - t[3] * z[2]


ANY = float("inf")


def _two(law: Callable[..., Any], sign: int, text: str) -> Form:
    """E + A x1^-a + B x2^(sign b)."""

    def value(t: Any, z: Any) -> Any:
        return t[0] + exp(t[1] - t[2] * z[0]) + exp(t[3] + sign * t[4] * z[1])

    def solve(L: Any, t: Any, z: Any) -> Any:
        return np.log(L - t[0] - exp(t[3] + sign * t[4] * z[1])) + t[2] * z[0]

    return Form(
        law,
        ("E", "A", "a", "B", "b"),
        value,
        solve,
        (False, True, False, True, False),
        (0.0, -ANY, -ANY, -ANY, -ANY),
        (ANY,) * 5,
        (Move(1, 2, 0, 1), Move(3, 4, 1, -sign)),
        1,
        text,
        (1, 1, 0, 1, 0),
        variables=2,
    )


FORMS = {
    "power": Form(
        power,
        ("A", "alpha"),
        _power,
        lambda L, t, z: np.log(L) - t[1] * z[0],
        (True, False),
        (-ANY, -ANY),
        (ANY, ANY),
        (Move(0, 1, 0, -1),),
        0,
        "{A} {x}^{alpha}",
        (1, 0),
    ),
    "shifted": Form(
        shifted,
        ("L_inf", "A", "alpha"),
        _shifted,
        lambda L, t, z: np.log(L - t[0]) - t[2] * z[0],
        (False, True, False),
        (0.0, -ANY, -ANY),
        (ANY, ANY, ANY),
        (Move(1, 2, 0, -1),),
        1,
        "{L_inf} + {A} {x}^{alpha}",
        (1, 1, 0),
    ),
    "bounded": Form(
        bounded,
        ("L_inf", "A", "alpha", "L_0"),
        _bounded,
        lambda L, t, z: np.log((L - t[0]) / (t[3] - L)) - t[2] * z[0],
        (False, True, False, False),
        (0.0, -ANY, -ANY, 0.0),
        (ANY,) * 4,
        (Move(1, 2, 0, -1),),
        1,
        "L where (L - {L_inf}) / ({L_0} - L) = {A} {x}^{alpha}",
        (1, 0, 0, 1),
        known=("L_0",),
    ),
    "m4": Form(
        m4,
        ("L_inf", "A", "alpha", "gamma", "L_0"),
        _m4,
        _solve_m4,
        (False, True, False, False, False),
        (0.0, -ANY, -ANY, 0.02, 0.0),  # at gamma 0 the law would reach L_0 and end there
        (ANY, ANY, ANY, 20.0, ANY),
        (Move(1, 2, 0, -1),),
        1,
        "L where (L - {L_inf}) / ({L_0} - L)^{gamma} = {A} {x}^{alpha}",
        (1, 1, 0, 0, 1),
        known=("L_0",),
        unit_falls=(1, 3),
    ),
    "broken": Form(
        broken,
        ("L_inf", "A", "alpha", "beta", "x_break", "width"),
        lambda t, z: t[0] + exp(t[1] + _bend(t, z)),
        lambda L, t, z: np.log(L - t[0]) - _bend(t, z),
        (False, True, False, False, True, True),
        (0.0, -ANY, -ANY, -ANY, -ANY, np.log(0.02)),
        (ANY, ANY, ANY, ANY, ANY, np.log(5.0)),
        (Move(1, 2, 0, -1), Move(4, None, 0, 1)),
        1,
        "{L_inf} + {A} {x}^{alpha} (1 + ({x}/{x_break})^(1/{width}))^({beta} {width})",
        (1, 1, 0, 0, 0, 0),
        fewest=8,
    ),
    "general": _two(general, -1, "{E} + {A} / {x1}^{a} + {B} / {x2}^{b}"),
    "joint": _two(joint, 1, "{E} + {A} {x1}^-{a} + {B} {x2}^{b}"),
    "surface": Form(
        surface,
        ("A", "a", "c", "B", "b", "d", "e"),
        _surface,
        lambda L, t, z: np.log(L) + t[1] * z[0] + t[2] * z[2] - softplus(_miss(t[3:], z)),
        (True, False, False, True, False, False, False),
        (-ANY,) * 7,
        (ANY,) * 7,
        (Move(0, 1, 0, 1), Move(0, 2, 2, 1), Move(3, 4, 1, -1), Move(3, 5, 0, 1), Move(3, 6, 2, 1)),
        0,
        "{A} {x1}^-{a} {x3}^-{c} (1 + {B} {x2}^{b} {x1}^-{d} {x3}^-{e})",
        (1, 0, 0, 0, 0, 0, 0),
        variables=3,
    ),
    "floored": Form(
        floored,
        ("F", "M", "a", "c", "B", "b", "d", "e"),
        _floored,
        lambda L, t, z: np.log(L) - softplus(t[2] * (t[1] - z[0])) + t[3] * z[2] - softplus(_miss(t[4:], z)),
        (True, True, False, False, True, False, False, False),
        (-ANY,) * 8,
        (ANY,) * 8,
        (
            Move(0, 3, 2, 1),
            Move(1, None, 0, 1),
            Move(4, 5, 1, -1),
            Move(4, 6, 0, 1),
            Move(4, 7, 2, 1),
        ),
        0,
        "{F} (1 + ({M} / {x1})^{a}) {x3}^-{c} (1 + {B} {x2}^{b} {x1}^-{d} {x3}^-{e})",
        (1, 0, 0, 0, 0, 0, 0, 0),
        variables=3,
    ),
}
