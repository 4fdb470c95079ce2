"""Model: a law's functional form with its parameters, their bounds and transformations; FORMS has all of them.

theta holds the parameters as they are fitted: positive ones as logarithms, all over the unit of y and relative to a
pivot of x, so that units change no digit of a fit.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analysis.fitting import initial_guesses as guesses
from analysis.fitting.lineshapes import (
    Array,
    Rows,
    Values,
    additive,
    bounded,
    broken,
    exp,
    floored,
    general,
    joint,
    m4,
    power,
    shifted,
    softplus,
    surface,
    unit_interval_root,
)

if TYPE_CHECKING:
    from analysis.fitting.problem import Problem  # which imports this file


class Move(NamedTuple):
    """How a parameter changes with the unit of x. As fitted it belongs to x / e^pivot, and
    at pivot 0 = as fitted + sign * parameters[exponent] * pivot; + sign * pivot where exponent is None."""

    parameter: int
    exponent: int | None
    variable: int
    sign: int


class Form(NamedTuple):
    """The functional form of a law, and how it is fitted. theta: the parameters as fitted."""

    law: Callable[..., Array]  # one of the functions above
    names: tuple[str, ...]  # its parameters
    value: Callable[[Rows, Rows], Values]  # (theta, z) -> L, for theta and z = log x, of complex numbers too
    solve: Callable[[Values, Rows, Rows], Values]  # (L, theta, z) -> parameter `anchor` of the law through L
    logs: tuple[bool, ...]  # which parameters are logarithms in theta
    low: tuple[float, ...]  # bounds of theta, and high
    high: tuple[float, ...]
    moves: tuple[Move, ...]
    anchor: int
    text: str  # format string with {A}, {alpha}, ..., {x}
    units: tuple[int, ...]  # power of the unit of L in each parameter
    guess: "Callable[[Problem, Array], Sequence[Sequence[float]]]"  # (problem, given theta (K,)) -> starting thetas
    variables: int = 1
    fewest: int = 0  # distinct x required, where that exceeds the number of parameters
    known: tuple[str, ...] = ()  # parameters that are never fitted and must be given
    unit_falls: tuple[int, int] | None = None  # (i, j): the power of the unit of parameter i is reduced by parameter j

    def given_between(self, name: str) -> tuple[float, float]:
        """The bounds of a parameter that is given."""
        k = self.names.index(name)
        low, high = self.low[k], self.high[k]
        return (float(np.exp(low)), float(np.exp(high))) if self.logs[k] else (low, high)


def _power(t: Rows, z: Rows) -> Values:
    return exp(t[0] + t[1] * z[0])


def _shifted(t: Rows, z: Rows) -> Values:
    return t[0] + exp(t[1] + t[2] * z[0])


def _bounded(t: Rows, z: Rows) -> Values:
    return t[0] + (t[3] - t[0]) / (1 + exp(-t[1] - t[2] * z[0]))


def _m4(t: Rows, z: Rows) -> Values:
    rise = t[4] - t[0]
    return t[0] + rise * unit_interval_root(t[1] + t[2] * z[0] + (t[3] - 1) * np.log(rise), t[3])


def _solve_m4(L: Values, t: Rows, z: Rows) -> Values:
    return np.log(L - t[0]) - t[3] * np.log(t[4] - L) - t[2] * z[0]


def _bend(t: Rows, z: Rows) -> Values:
    width = exp(t[5])
    return t[2] * z[0] + t[3] * width * softplus((z[0] - t[4]) / width)


def _additive(t: Rows, z: Rows) -> Values:
    return t[0] + exp(t[1] - t[2] * z[0]) + _patch_and_images(t, z)


def _patch_and_images(t: Rows, z: Rows) -> Values:
    return exp(t[3] + t[4] * z[1]) + exp(t[5] - t[6] * z[2])


def _surface(t: Rows, z: Rows) -> Values:
    return exp(t[0] - t[1] * z[0] - t[2] * z[2] + softplus(_miss(t[3:], z)))


def _floored(t: Rows, z: Rows) -> Values:
    return exp(t[0] + softplus(t[2] * (t[1] - z[0])) - t[3] * z[2] + softplus(_miss(t[4:], z)))


def _miss(t: Rows, z: Rows) -> Values:
    """log of B p^b N^-d I^-e; t: log B, b, d, e."""
    return t[0] + t[1] * z[1] - t[2] * z[0] - t[3] * z[2]


ANY = float("inf")


def _two(law: Callable[..., Array], sign: int, text: str) -> Form:
    """E + A x1^-a + B x2^(sign b)."""

    def value(t: Rows, z: Rows) -> Values:
        return t[0] + exp(t[1] - t[2] * z[0]) + exp(t[3] + sign * t[4] * z[1])

    def solve(L: Values, t: Rows, z: Rows) -> Values:
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
        guesses.two_variables,
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
        guesses.power,
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
        guesses.shifted,
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
        guesses.saturating,
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
        guesses.saturating,
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
        guesses.broken,
        fewest=8,
    ),
    "general": _two(general, -1, "{E} + {A} / {x1}^{a} + {B} / {x2}^{b}"),
    "joint": _two(joint, 1, "{E} + {A} {x1}^-{a} + {B} {x2}^{b}"),
    "additive": Form(
        additive,
        ("E", "A", "a", "B", "b", "C", "c"),
        _additive,
        lambda L, t, z: np.log(L - t[0] - _patch_and_images(t, z)) + t[2] * z[0],
        (False, True, False, True, False, True, False),
        (0.0, *(-ANY,) * 6),
        (ANY,) * 7,
        (Move(1, 2, 0, 1), Move(3, 4, 1, -1), Move(5, 6, 2, 1)),
        1,
        "{E} + {A} {x1}^-{a} + {B} {x2}^{b} + {C} {x3}^-{c}",
        (1, 1, 0, 1, 0, 1, 0),
        guesses.three_variables,
        variables=3,
    ),
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
        guesses.surface,
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
        guesses.surface,
        variables=3,
    ),
}

DEFAULT_FORMS = ("power", "shifted")  # forms that are fitted by default


def one_variable() -> list[str]:
    """The names of the forms of one variable, those of a plug-in too."""
    return [name for name, shape in FORMS.items() if shape.variables == 1]
