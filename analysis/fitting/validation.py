"""Validation of the input of fits. Every error is a ValueError of one line with the offending numbers."""

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike

from analysis.fitting.minimizer import Array
from analysis.fitting.model import FORMS, Form

WIDEST = 600.0  # range of log y that fits in float64
WIDEST_SIGMAS = 1e6  # ratio of standard errors: beyond it rounding of the most precise points outweighs the others


def positive(name: str, values: ArrayLike) -> Array:
    """values as a one-dimensional array of positive finite numbers, or ValueError."""
    array = np.atleast_1d(numbers(name, values))
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; a list of numbers is needed")
    for bad in array[~(np.isfinite(array) & (array > 0))][:1]:
        raise ValueError(f"{name} holds {bad:g}; every value must be finite and above 0")
    return array


def numbers(name: str, values: ArrayLike) -> Array:
    """values as an array of real numbers, or ValueError for unordered, masked or non-numeric values."""
    if np.ma.is_masked(values):
        raise ValueError(f"{name} has masked values; remove those points from x and y")
    if isinstance(values, Mapping | Set | Iterator | str | bytes):
        raise ValueError(f"{name} is a {type(values).__name__}; a list of numbers is needed")
    try:
        array = np.asarray(values)
        if array.dtype.kind in "OU":  # Decimal, Fraction, numeric text
            array = array.astype(float)
    except (TypeError, ValueError) as e:
        raise ValueError(f"{name} is not a list of numbers ({' '.join(str(e).split())})") from e
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} holds {array.dtype} values; real numbers are needed")
    return array.astype(float)


def variables(x: Sequence[ArrayLike], shape: Form) -> Array:
    """x (V, N) of one to three variables of equal length, or ValueError."""
    if len(x) != shape.variables:
        raise ValueError(f"{len(x)} variables; the law has {shape.variables}")
    names = _names(len(x))
    arrays = [positive(name, values) for name, values in zip(names, x, strict=True)]
    for name, values in zip(names, arrays, strict=True):
        if len(values) != len(arrays[0]):
            raise ValueError(f"{len(arrays[0])} x1 but {len(values)} {name}; they must be pairs")
    return np.stack(arrays)


def _names(variables: int) -> tuple[str, ...]:
    return ("x",) if variables == 1 else tuple(f"x{n + 1}" for n in range(variables))


def check_choices(form: str, space: str, loss: str, delta: float, confidence: float, variables: int) -> None:
    choices: Sequence[tuple[str, str, Sequence[str]]] = (
        ("form", form, [name for name, shape in FORMS.items() if shape.variables == variables]),
        ("space", space, ("log", "linear")),
        ("loss", loss, ("huber", "squares")),
    )
    for what, chosen, known in choices:
        if chosen not in known:
            raise ValueError(f"unknown {what} {chosen!r}; choose from: {', '.join(known)}")
    if not (isinstance(confidence, Real) and 0 < confidence < 1):
        raise ValueError(f"confidence {confidence} must be between 0 and 1")
    if not (isinstance(delta, Real) and delta > 0 and math.isfinite(delta)):
        raise ValueError(f"delta {delta} must be finite and above 0")


def checked(x: Sequence[ArrayLike], y: ArrayLike, form: str, given: Mapping[str, float]) -> tuple[Array, Array]:
    """x (V, N) and y (N,) as arrays, or ValueError where this form cannot be fitted to them."""
    shape = FORMS[form]
    for name, value in given.items():
        if name not in shape.names:
            raise ValueError(f"the {form} law has no parameter {name!r}; it has: {', '.join(shape.names)}")
        if not (isinstance(value, Real) and math.isfinite(value)):
            raise ValueError(f"{name} is given as {value}; a finite number is needed")
        low, high = shape.given_between(name)
        if not low <= value <= high:
            raise ValueError(f"{name} is given as {value:g}; it must be {_between(low, high)}")
    for name in shape.known:
        if name not in given:
            raise ValueError(
                f"the {form} law needs {name}, as given={{{name!r}: ...}}: the loss of an uninformed prediction, "
                "as log(classes)"
            )
    x_VN, ys = variables(x, shape), positive("y", y)
    if x_VN.shape[1] != len(ys):
        names = " and ".join(_names(len(x_VN)))
        raise ValueError(f"{x_VN.shape[1]} {names} but {len(ys)} y; they must be pairs")
    if "L_0" in given and ys.max() >= given["L_0"]:
        raise ValueError(f"y holds {ys.max():g}; every value must be below L_0, {given['L_0']:g}")
    if ys.size and math.log(ys.max()) - math.log(ys.min()) > WIDEST:
        raise ValueError(f"y ranges from {ys.min():g} to {ys.max():g}, too wide a range for one law")
    for name in ("L_inf", "E"):
        if ys.size and given.get(name, 0.0) >= ys.min():
            raise ValueError(f"y holds {ys.min():g}; every value must be above {name}, {given[name]:g}")
    if given.get("L_inf", 0.0) >= given.get("L_0", math.inf):
        raise ValueError(f"L_inf is given as {given['L_inf']:g}; it must be below L_0, {given['L_0']:g}")
    for name, values in (*zip(_names(len(x_VN)), x_VN, strict=True), ("y", ys)):
        if len(values) > 1 and np.all(values == values[0]):
            raise ValueError(f"all {len(values)} {name} are {values[0]:g}; a law needs distinct values")
    k = max(len(shape.names) - len(given), shape.fewest)
    different = len(np.unique(x_VN, axis=1)[0])
    if different < k:
        has = f"{len(shape.names) - len(given)} parameters" + (f" and needs {k}" if shape.fewest == k else "")
        raise ValueError(
            f"{different} distinct {'x' if len(x_VN) == 1 else 'pairs of x'} are too few; the {form} law has {has}"
        )
    return x_VN, ys


def checked_sigma(sigma: ArrayLike, n: int) -> Array:
    """Relative standard errors (N,) of n points, or ValueError."""
    sigma_N = positive("sigma", sigma)
    if len(sigma_N) != n:
        raise ValueError(f"{n} y but {len(sigma_N)} sigma; every y needs a standard error, or none")
    if sigma_N.max() > WIDEST_SIGMAS * sigma_N.min():
        low, high = sigma_N.min(), sigma_N.max()
        raise ValueError(f"sigma ranges from {low:g} to {high:g}, a factor of more than {WIDEST_SIGMAS:g}")
    return sigma_N


def _between(low: float, high: float) -> str:
    if math.isinf(high):
        return f"{low:g} or more"
    return f"between {low:g} and {high:g}"
