"""Problem: a law's form and its data together, in units of order one.

y is divided by its largest value and x by a pivot, so that units change no digit of an answer. Slopes are by complex
step (Squire and Trapp 1998, SIAM Review 40): exact, and from the law alone.
Letters: S starts or searches, M places on a curve, N data, K parameters, V variables.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.lineshapes import Rows, Values
from analysis.fitting.minimizer import Array, Index, huber
from analysis.fitting.model import Form
from analysis.fitting.weights import precisions

ENOUGH = 40.0  # e^-40 is negligible compared with 1 [1]
STEP = 1e-100  # along the imaginary axis; no difference is taken, so nothing cancels


def with_slopes(value: Callable[[Rows, Rows], Values], theta_SK: Array, z_SVN: Array) -> tuple[Array, Array]:
    """A law's values (S, N) and their Jacobian (S, N, K) in theta. z_SVN: log x, S or 1 along its first axis."""
    S, K = theta_SK.shape
    theta_KSK1 = (theta_SK[:, None, :] + STEP * 1j * np.eye(K)).transpose(2, 0, 1)[..., None]
    f_SKN = value(theta_KSK1, z_SVN.transpose(1, 0, 2)[:, :, None, :])
    f_SKN = np.broadcast_to(f_SKN, (S, K, z_SVN.shape[2]))
    return f_SKN[:, 0].real.copy(), f_SKN.imag.swapaxes(1, 2) / STEP


@dataclass(frozen=True)
class Problem:
    """Form and data as the minimizer takes them, with residuals of order one."""

    shape: Form
    z_VN: Array  # log x
    y_N: Array  # divided by scale; the largest is 1
    scale: float  # in the unit of y
    space: str
    delta: float  # Huber's, of residuals in this scale; inf for squares
    confidence: float
    pivot_V: Array  # log of the x at which coefficients in theta are defined
    bounds_2K: Array  # of theta; an exponent at its bound is numerically infinite for these x
    ends_2K: Array  # reported value at each bound: infinite where the bound is a numerical one
    free_K: NDArray[np.bool_]  # fitted; the others are given
    precision_N: Array  # relative precision of each point, of mean square 1
    weight_N: Array  # factor of each residual: its precision, or less where the law's discrepancy is added to its error
    sigma: float  # size of the errors of residuals times precision where it is known; nan: estimated

    @property
    def unit(self) -> float:
        """The unit of residuals: 1 in log space, the largest y in linear space."""
        return 1.0 if self.space == "log" else self.scale

    @property
    def df(self) -> int:
        """Residual degrees of freedom [1]."""
        return self.y_N.size - int(self.free_K.sum())

    def shift(self, theta_K: Array, old_V: Array, new_V: Array) -> Array:
        """theta relative to another pivot: A x^alpha is exp(u + alpha (log x - pivot)), so u changes with alpha."""
        theta_K = theta_K.copy()
        for move in self.shape.moves:
            rate = 1.0 if move.exponent is None else theta_K[move.exponent]
            theta_K[move.parameter] += move.sign * rate * (old_V[move.variable] - new_V[move.variable])
        return theta_K

    def letter(self, k: int) -> tuple[Array, float]:
        """weight_K and level with which weight_K theta + level is parameter k of the formula (its logarithm where it is
        positive). For A, defined at x = 1 in the unit of y, the exponents have a weight: the pivot's distance."""
        weight_K, level = np.eye(len(self.shape.names))[k], 0.0
        for move in self.shape.moves:
            if move.parameter == k and move.exponent is None:
                level += move.sign * self.pivot_V[move.variable]
            elif move.parameter == k:
                weight_K[move.exponent] += move.sign * self.pivot_V[move.variable]
        if self.shape.logs[k]:
            level += self.shape.units[k] * math.log(self.scale)
            if self.shape.unit_falls and self.shape.unit_falls[0] == k:
                weight_K[self.shape.unit_falls[1]] -= math.log(self.scale)
        return weight_K, float(level)

    def in_its_unit(self, k: int, value: float) -> float:
        """Parameter k from the value that `letter` defines."""
        with np.errstate(over="ignore"):
            return np.exp(value) if self.shape.logs[k] else value * self.scale ** self.shape.units[k]

    def residual(self, theta_SK: Array, _: Index | None = None) -> tuple[Array, Array]:
        return self.residual_of(*with_slopes(self.shape.value, theta_SK, (self.z_VN - self.pivot_V[:, None])[None]))

    def residual_of(
        self, f_SN: Array, J_SNK: Array, y_SN: Array | None = None, weight_SN: Array | None = None
    ) -> tuple[Array, Array]:
        """Weighted residuals and their Jacobian from a law's values and their Jacobian; y_SN: other data than the
        problem's, divided by the same scale, and weight_SN their weights."""
        y_SN = self.y_N if y_SN is None else y_SN
        weight_SN = self.weight_N if weight_SN is None else weight_SN
        if self.space == "log":
            return weight_SN * (np.log(f_SN) - np.log(y_SN)), J_SNK / f_SN[:, :, None] * weight_SN[..., None]
        return weight_SN * (f_SN - y_SN), J_SNK * weight_SN[..., None]

    def law(self, theta_K: Array, z_VM: Array) -> Array:
        """The law at log x, in the unit of y."""
        z_VM = z_VM - self.pivot_V[:, None]
        return np.broadcast_to(self.shape.value(theta_K, z_VM), z_VM.shape[1:]) * self.scale

    def natural(self, theta_K: Array) -> Array:
        """The parameters of the formula from theta."""
        letters = [self.letter(k) for k in range(len(theta_K))]
        return np.array([self.in_its_unit(k, float(w_K @ theta_K) + level) for k, (w_K, level) in enumerate(letters)])

    def allowance(self, theta_K: Array, factor: float) -> tuple[float, float]:
        """The minimal cost and `factor` times that, by which a profile may exceed it (plus a term for rounding)."""
        r_1N, _ = self.residual(theta_K[None])
        least = float(np.sum(huber(r_1N, self.delta))) + (1e-15 * self.y_N.size) ** 2
        return least, least * factor


def build_problem(
    shape: Form,
    x_VN: Array,
    y_N: Array,
    space: str,
    confidence: float,
    delta: float,
    given: Mapping[str, float],
    sigma_N: Array | None,
) -> tuple[Problem, Array]:
    """The problem, and theta of the given parameters (nan for the others). Arguments: as for laws.fit, checked."""
    z_VN, scale = np.log(x_VN), float(y_N.max())
    pivot_V = z_VN[:, np.argmax(y_N)] if len(z_VN) == 1 else z_VN.mean(axis=1)
    given_K = np.array([given.get(name, math.nan) for name in shape.names]) / scale ** np.array(shape.units)
    for move in shape.moves:
        if not math.isnan(given_K[move.parameter]):
            raise ValueError(f"{shape.names[move.parameter]} cannot be given; it depends on the unit of x")
    for k in map(int, np.flatnonzero(shape.logs)):
        given_K[k] = math.log(given_K[k]) if given_K[k] > 0 else math.nan
    bounds_2K = np.array([shape.low, shape.high])
    if "L_0" in shape.names:
        bounds_2K[1, shape.names.index("L_inf")] = given["L_0"] / scale * (1 - 1e-9)
    if "x_break" in shape.names:  # a break outside the data is not a break
        k = shape.names.index("x_break")
        bounds_2K[:, k] = z_VN.min() - pivot_V[0], z_VN.max() - pivot_V[0]
    ends_2K = bounds_2K.copy()
    for move in shape.moves:
        if move.exponent is not None:
            steepest = ENOUGH / float(np.diff(np.unique(z_VN[move.variable])).min())
            bounds_2K[:, move.exponent] = -steepest, steepest
    if "beta" in shape.names:  # difference of the exponents on both sides of the break
        k = shape.names.index("beta")
        bounds_2K[:, k] = 2 * bounds_2K[:, shape.names.index("alpha")]
    bounds_2K[:, ~np.isnan(given_K)] = [[-math.inf], [math.inf]]
    delta /= 1.0 if space == "log" else scale
    free_K = np.isnan(given_K)
    precision_N, sigma = precisions(z_VN, y_N / scale, sigma_N, space)
    return Problem(
        shape,
        z_VN,
        y_N / scale,
        scale,
        space,
        delta,
        confidence,
        pivot_V,
        bounds_2K,
        ends_2K,
        free_K,
        precision_N,
        precision_N,
        sigma,
    ), given_K


def unbounded(bounds_2K: Array, shape: Form) -> Array:
    """The bounds without those of parameters that depend on the pivot."""
    bounds_2K = bounds_2K.copy()
    for move in shape.moves:
        bounds_2K[:, move.parameter] = -np.inf, np.inf
    return bounds_2K
