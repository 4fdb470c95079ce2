"""Laws: what loss does as a patch (or a token count, or a cost) grows, fitted with intervals that tell the truth.

    power    L = A x^alpha
    shifted  L = L_inf + A x^alpha, L_inf >= 0: the published figures' axes are log(L - L_inf), arXiv 2502.03738, Fig. 1
L loss [nats], x patch side [px] or any other positive size, A > 0 [nats px^-alpha], alpha [1], L_inf [nats].

Fits are least squares of log L by default (errors of a loss are relative to it), or Huber's loss on log L, which a
wild point moves less but which has no likelihood and so gives no intervals. Intervals are profile likelihood: the
values of a parameter at which the others, fitted again, still fit (analysis/likelihood.py). For a law that is linear
in its parameters that is the textbook interval; with five points and three parameters it is wide, or reaches L_inf = 0
or has no end where the data say no more, and then the parameter is "not identified".
R^2 is 1 - (sum of squared residuals of log L) / (sum of squares of log L about its mean), whatever was minimised.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.descent import Array, descend, huber
from analysis.forms import FORMS, Form
from analysis.likelihood import Problem, band, intervals

HUBER_DELTA = 1e-3  # of log L [1]; Chinchilla (arXiv 2203.15556, Appendix D.3) uses it
STARTS = (0.0, 0.3, 0.6, 0.8, 0.9, 0.96, 0.99, 0.999)  # of L_inf, as shares of the least loss


@dataclass(frozen=True)
class Fit:
    """A fitted law. Parameters and their intervals are in the letters of the module's head."""

    form: str
    parameters: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]  # at `confidence`; nan where there is none
    identified: Mapping[str, bool]  # whether the interval exists, ends, and keeps off the parameter's bounds
    residuals: Array  # (n,) log L - log of the law, or L - the law where space is "linear"
    loss: float  # what was minimised: the sum of squared residuals, or of Huber's loss (r^2/2 near 0)
    r2: float  # in log L
    n: int
    converged: bool  # judged by the gradient at the end
    space: str
    confidence: float
    why_no_intervals: str  # "" where there are some
    x: Array = field(repr=False)
    y: Array = field(repr=False)
    problem: Problem = field(repr=False)
    theta_K: Array = field(repr=False)

    def predict(self, x: ArrayLike) -> Array:
        """The law at x (m,), in the units of y."""
        return self.problem.law(self.theta_K, np.log(_positive("x", x)))

    def band(self, x: ArrayLike) -> tuple[Array, Array]:
        """Profile-likelihood interval of the law itself (not of one more measurement) at each x, low and high.
        nan where the intervals are undefined."""
        x = _positive("x", x)
        if self.why_no_intervals:
            return np.full(len(x), np.nan), np.full(len(x), np.nan)
        ends_2M = band(self.problem, self.theta_K, np.log(x))
        return ends_2M[0], ends_2M[1]

    def summary(self, x: str = "p", y: str = "L") -> str:
        """The law, and a line with its intervals; x and y are the letters to use."""
        numbers = {name: f"{value:.4g}" for name, value in self.parameters.items()}
        law = f"{y} = {FORMS[self.form].text.format(x=x, **numbers)}   (R2 {self.r2:.4f}, n {self.n})"
        if not self.converged:
            law += "   DID NOT CONVERGE"
        return f"{law}\n  {self.intervals_text()}"

    def intervals_text(self) -> str:
        """The intervals in one line, or why there are none."""
        if self.why_no_intervals:
            return f"no intervals: {self.why_no_intervals}"
        parts = []
        for name, (low, high) in self.intervals.items():
            told = "" if self.identified[name] else " (not identified)"
            parts.append(f"{name} in [{low:.3g}, {high:.3g}]{told}")
        return ", ".join(parts)


def fit(
    x: ArrayLike,
    y: ArrayLike,
    form: str = "power",
    *,
    space: str = "log",
    loss: str = "squares",
    delta: float = HUBER_DELTA,
    confidence: float = 0.95,
) -> Fit:
    """Fit a law to points (x, y).
    x: (n,) > 0, patch side [px] or another size.  y: (n,) > 0, test loss [nats].  Points that share an x (seeds)
    are so many points. Needs as many different x as the form has parameters, and one point more for intervals.
    form: "power" or "shifted".  space: residuals of "log" y, or of y itself ("linear").  loss: "squares" or "huber"
    with delta in units of the residuals.  Raises ValueError, with the numbers, for anything else."""
    shape, x, y = _checked(x, y, form, space, loss, delta, confidence)
    z_N = np.log(x)
    problem = Problem(shape, z_N, y, space, confidence, pivot=float(z_N[np.argmax(y)]))
    delta = delta if loss == "huber" else math.inf
    low_K = np.array(shape.low)
    valley = descend(problem.residual, _starts(problem), low_K, delta=delta / problem.unit, steps=15)
    ahead = np.argsort(valley.cost_S, kind="stable")[:3]  # the others would only arrive later at the same place
    valley = descend(problem.residual, valley.theta_SK[ahead], low_K, delta=delta / problem.unit)
    best = int(np.argmin(valley.cost_S))
    theta_K = valley.theta_SK[best]
    r_N = problem.residual(theta_K[None])[0][0]
    f_N = problem.law(theta_K, z_N)
    about_N = np.log(y) - np.log(y).mean()
    why = _why_no_intervals(len(x), shape, loss, bool(valley.converged_S[best]))
    ends = dict.fromkeys(shape.names, (math.nan, math.nan)) if why else intervals(problem, theta_K)
    return Fit(
        form=form,
        parameters=dict(zip(shape.names, map(float, problem.natural(theta_K)), strict=True)),
        intervals=ends,
        identified={name: _is_identified(name, ends[name]) for name in shape.names},
        residuals=-r_N * problem.unit,
        loss=float(np.sum(huber(r_N * problem.unit, delta))) * (1.0 if math.isinf(delta) else 0.5),
        r2=float(1 - np.sum((np.log(y) - np.log(f_N)) ** 2) / np.sum(about_N**2)) if about_N.any() else math.nan,
        n=len(x),
        converged=bool(valley.converged_S[best]),
        space=space,
        confidence=confidence,
        why_no_intervals=why,
        x=x,
        y=y,
        problem=problem,
        theta_K=theta_K,
    )


def seed_spread(frame: pd.DataFrame, column: str = "test_loss") -> pd.DataFrame:
    """How far runs that differ in nothing but the seed lie apart, a row a group.
    frame: finished runs with group, patch and the column.  Returns group, spread in the units of the column (the
    standard deviation over seeds, pooled over patch sizes; nan where no patch size has two seeds), df (its degrees of
    freedom) and seeds (the most that a patch size has)."""
    rows = []
    for group, runs in frame.dropna(subset=[column]).groupby("group", sort=False):
        of_patch = runs.groupby("patch")[column]
        squares = float(((runs[column] - of_patch.transform("mean")) ** 2).sum())
        df = len(runs) - runs["patch"].nunique()
        spread = math.sqrt(squares / df) if df else math.nan
        rows.append({"group": group, "spread": spread, "df": df, "seeds": int(of_patch.count().max())})
    return pd.DataFrame(rows, columns=["group", "spread", "df", "seeds"])


def _starts(problem: Problem) -> Array:
    """Straight lines through log(y - L_inf), for several L_inf below the least y."""
    X_N2 = np.stack([np.ones_like(problem.z_N), problem.z_N - problem.pivot], axis=1)
    floors = [share * problem.y_N.min() for share in STARTS] if "L_inf" in problem.shape.names else [0.0]
    lines = [np.linalg.lstsq(X_N2, np.log(problem.y_N - floor), rcond=None)[0] for floor in floors]
    starts = np.array([[floor, *line] for floor, line in zip(floors, lines, strict=True)])
    return starts[:, -len(problem.shape.names) :]


def _is_identified(name: str, ends: tuple[float, float]) -> bool:
    """Whether an interval ends on both sides, short of the bound 0 where the parameter has one."""
    low, high = ends
    return math.isfinite(low) and math.isfinite(high) and (name == "alpha" or low > 0)


def _why_no_intervals(n: int, shape: Form, loss: str, converged: bool) -> str:
    k = len(shape.names)
    if loss == "huber":
        return "Huber's loss has no likelihood; use loss='squares'"
    if n <= k:
        return f"{n} points, {k} parameters"
    return "" if converged else "the fit did not converge"


def _positive(name: str, values: ArrayLike) -> Array:
    """values as a one-dimensional array of positive finite numbers, or ValueError."""
    array = np.atleast_1d(np.asarray(values, dtype=float))
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; a list of numbers is needed")
    for bad in array[~(np.isfinite(array) & (array > 0))][:1]:
        raise ValueError(f"{name} holds {bad:g}; every value must be finite and above 0")
    return array


def _checked(
    x: ArrayLike, y: ArrayLike, form: str, space: str, loss: str, delta: float, confidence: float
) -> tuple[Form, Array, Array]:
    choices: Sequence[tuple[str, str, Any]] = (
        ("form", form, FORMS),
        ("space", space, ("log", "linear")),
        ("loss", loss, ("squares", "huber")),
    )
    for what, given, known in choices:
        if given not in known:
            raise ValueError(f"unknown {what} {given!r}; there is: {', '.join(known)}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} must be between 0 and 1")
    if not (delta > 0 and math.isfinite(delta)):
        raise ValueError(f"delta {delta} must be finite and above 0")
    xs, ys = _positive("x", x), _positive("y", y)
    if len(xs) != len(ys):
        raise ValueError(f"{len(xs)} x but {len(ys)} y; they must be pairs")
    k = len(FORMS[form].names)
    different = len(np.unique(xs))
    if different == 1 and len(xs) > 1:
        raise ValueError(f"all {len(xs)} x are {xs[0]:g}; a law needs different ones")
    if different < k:
        raise ValueError(f"{different} different x are too few; the {form} law has {k} parameters")
    return FORMS[form], xs, ys
