"""Forms: the shapes that a law can have, as functions with their slopes.

    power    f = A x^alpha
    shifted  f = L_inf + A x^alpha
Letters: theta the parameters as they are fitted, z = log x; S problems, N data, K parameters.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from analysis.descent import Array


class Form(NamedTuple):
    """A law's shape. theta holds its parameters as they are fitted: A as its logarithm."""

    names: tuple[str, ...]
    curve: Callable[[Array, Array], tuple[Array, Array]]  # theta_SK, log x_SN -> f_SN, its slopes_SNK
    anchored: Callable[[Array, Array], tuple[Array, Array]]  # the same for the log of f(1) in the place of log A
    low: tuple[float, ...]  # lower bounds of theta
    text: str  # with {A}, {alpha}, ..., {x}


def _exp(z: Array) -> Array:
    with np.errstate(over="ignore"):  # an exponent that runs away is a step that is not taken, not a fault
        return np.exp(z)


def power_curve(theta_SK: Array, z_SN: Array) -> tuple[Array, Array]:
    """A x^alpha for theta = (log A, alpha), z = log x."""
    f_SN = _exp(theta_SK[:, :1] + theta_SK[:, 1:2] * z_SN)
    return f_SN, np.stack([f_SN, f_SN * z_SN], axis=2)


def shifted_curve(theta_SK: Array, z_SN: Array) -> tuple[Array, Array]:
    """L_inf + A x^alpha for theta = (L_inf, log A, alpha), z = log x."""
    rest_SN, slope_SN2 = power_curve(theta_SK[:, 1:], z_SN)
    return theta_SK[:, :1] + rest_SN, np.concatenate([np.ones_like(rest_SN)[:, :, None], slope_SN2], axis=2)


def shifted_anchored(theta_SK: Array, z_SN: Array) -> tuple[Array, Array]:
    """L_inf + (V - L_inf) x^alpha for theta = (L_inf, log V, alpha), z = log x.
    V is the law at x = 1; where it is not above L_inf the law is nan."""
    floor_S1, value_S1 = theta_SK[:, :1], _exp(theta_SK[:, 1:2])
    rise_S1 = np.where(value_S1 > floor_S1, value_S1 - floor_S1, np.nan)
    grow_SN = _exp(theta_SK[:, 2:] * z_SN)
    f_SN = floor_S1 + rise_S1 * grow_SN
    return f_SN, np.stack([1 - grow_SN, value_S1 * grow_SN, rise_S1 * grow_SN * z_SN], axis=2)


FORMS = {
    "power": Form(("A", "alpha"), power_curve, power_curve, (-np.inf, -np.inf), "{A} {x}^{alpha}"),
    "shifted": Form(
        ("L_inf", "A", "alpha"), shifted_curve, shifted_anchored, (0.0, -np.inf, -np.inf), "{L_inf} + {A} {x}^{alpha}"
    ),
}
