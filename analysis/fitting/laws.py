"""Laws: what loss does as a patch (or a token count, or a cost) grows, fitted with intervals that tell the truth.

    power    L = A x^alpha
    shifted  L = L_inf + A x^alpha, L_inf >= 0: the published figures' axes are log(L - L_inf), arXiv 2502.03738, Fig. 1
    bounded, m4    between L_inf and a known ceiling L_0: error rates        broken    with a bend, from 8 sizes on
    general  L = E + A / x1^a + B / x2^b      joint    L = E + A N^-a + B p^b: two variables, by fit2
    surface  L = A N^-a I^-c (1 + B p^b N^-d I^-e): model, patch and image, by fit3      floored    with a floor in N
L loss [nats], x patch side [px] or any other positive size. Each law is a bare function, here and in
analysis/fitting/lineshapes.py.

Fits minimise the sum of squared residuals of log L. Intervals are profile likelihood for normal errors of log L: of the
same objective, so that an estimate never lies outside its interval. By choice Huber's loss is minimised (loss="huber",
delta 1e-3 as in arXiv 2203.15556, Appendix D.3), which a wild point moves little; the intervals are then those of
Huber's profile (analysis/fitting/robust.py). With so small a delta it is nearly the sum of absolute residuals: of an
even number of points its least may be a whole range, of which the end towards the least-squares law is taken.
For a law that is linear in its parameters the interval is the textbook's; with five points and three parameters it is
wide, or reaches L_inf = 0 or has no end where the data say no more: the parameter is then "not identified".
R^2 is that of the law itself: 1 - (sum of squared residuals of log L) / (that of log L about its mean).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from analysis.fitting.initial_guesses import starts
from analysis.fitting.likelihood import Problem, band
from analysis.fitting.lineshapes import (
    FORMS,
    Form,
    bounded,
    broken,
    floored,
    general,
    joint,
    m4,
    power,
    shifted,
    surface,
)
from analysis.fitting.minimizer import Array, Minimum, descend, huber, newton
from analysis.fitting.profiles import ENOUGH, intervals
from analysis.fitting.robust import rise
from analysis.fitting.validation import check_choices, checked, variables

__all__ = [
    "FORMS",
    "Fit",
    "bounded",
    "broken",
    "fit",
    "fit2",
    "fit3",
    "floored",
    "general",
    "joint",
    "m4",
    "power",
    "shifted",
    "surface",
]

HUBER_DELTA = 1e-3  # of log L [1]
LARGEST_DELTA = 1e6  # of log L, or of the largest y: beyond all residuals Huber's loss is the sum of squares
FLATTENS = 0.25  # of the steepest exponent: from here on laws differ by 1e-5 and less
VALLEYS = 3  # besides the deepest, that an interval is looked for from
OPTIMISER = "Levenberg-Marquardt in batches, slopes by complex step"


@dataclass(frozen=True)
class Fit:
    """A fitted law. Parameters and their intervals are in the letters of the module's head."""

    form: str
    parameters: Mapping[str, float]  # of two variables E, A, a, B, b; those that were given among them
    given: Mapping[str, float]  # parameters that were given, not fitted
    residuals: Array  # (n,) log L - log of the law, or L - the law where space is "linear"
    loss: float  # what was minimised: the sum of squared residuals, or of Huber's function (r^2/2 near 0)
    objective: str  # "huber" or "squares"
    delta: float  # Huber's, in units of the residuals; inf for squares
    r2: float  # in log L
    n: int
    starts: int  # places that the descent began at
    slope: float  # at the end: the greatest cosine between residuals and a way to change them; 0 at a floor
    converged: bool  # judged by that slope alone
    space: str
    confidence: float
    why_no_intervals: str  # "" where there are some
    x: Array = field(repr=False)  # (n,), or (V, n) for several variables
    y: Array = field(repr=False)
    problem: Problem = field(repr=False)
    theta_K: Array = field(repr=False)
    valleys_PK: Array = field(repr=False)  # other places to which the descents led
    _bands: dict[bytes, Array] = field(repr=False, compare=False, default_factory=dict)  # (2, M), by the places

    @cached_property
    def intervals(self) -> Mapping[str, tuple[float, float]]:
        """Profile-likelihood interval of every fitted parameter, at `confidence`; nan where there is none."""
        if self.why_no_intervals:
            return {name: (math.nan, math.nan) for name in self.parameters if name not in self.given}
        return intervals(self.problem, self.theta_K, self.rise, self.valleys_PK)

    @cached_property
    def rise(self) -> float:
        """By how much of itself the least of the objective may rise before a law is rejected [1]."""
        return rise(self.problem, self.theta_K)

    @cached_property
    def identified(self) -> Mapping[str, bool]:
        """Whether a fitted parameter's interval exists, ends on both sides, and keeps off its bounds."""
        return {name: self._is_identified(name) for name in self.intervals}

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the law may take amiss, a sentence each: to which end of x a floor belongs."""
        slope, floor = self.parameters.get("alpha"), self.parameters.get("L_inf")
        if slope is None or self.problem.shape.variables != 1:
            return ()
        told = [] if slope >= 0 else ["the law falls as {x} grows"]
        if floor is not None and slope < 0:
            told = [f"{told[0]}: L_inf is what is left at large {{x}}, not at small"]
        return tuple(told)

    @property
    def k(self) -> int:
        """Parameters that were fitted [1]."""
        return len(self.parameters) - len(self.given)

    @cached_property
    def aicc(self) -> float:
        """Akaike's criterion for small samples (Hurvich and Tsai 1989, Biometrika 76), the size of the errors counted
        among the parameters. Smaller is better, among fits of the same data in the same space. nan where n <= k + 2,
        and for Huber's loss, which is no likelihood."""
        k = self.k + 1
        if self.n - k - 1 <= 0 or self.objective == "huber":
            return math.nan
        least, _ = self.problem.allowance(self.theta_K, 0.0)
        return self.n * math.log(least / self.n) + 2 * k + 2 * k * (k + 1) / (self.n - k - 1)

    def predict(self, *x: ArrayLike) -> Array:
        """The law at x (m,), in the units of y; of two variables at x1, x2."""
        return self.problem.law(self.theta_K, np.log(variables(x, self.problem.shape)))

    def band(self, *x: ArrayLike) -> tuple[Array, Array]:
        """Profile-likelihood interval of the law itself (not of one more measurement) at each x, low and high.
        nan where the intervals are undefined."""
        x_VM = variables(x, self.problem.shape)
        if self.why_no_intervals:
            return np.full(x_VM.shape[1], np.nan), np.full(x_VM.shape[1], np.nan)
        if (places := x_VM.tobytes()) not in self._bands:
            self._bands[places] = band(self.problem, self.theta_K, self.rise, np.log(x_VM))
        low_M, high_M = self._bands[places].copy()
        return low_M, high_M

    def summary(self, x: str = "p", y: str = "L") -> str:
        """The law, and a line with its intervals; x and y are the letters to use. A parameter that is not identified
        stays a letter in the law: its interval is all that is said of it."""
        x1, x2, x3 = ("x1", "x2", "x3") if self.form == "general" else ("N", "p", "I")
        letters = {"x": x, "x1": x1, "x2": x2, "x3": x3}
        told = {name: f"{v:.4g}" if self.identified.get(name, True) else name for name, v in self.parameters.items()}
        law = f"{y} = {self.problem.shape.text.format(**letters, **told)}   (R2 {self.r2:.4f}, n {self.n})"
        if not self.converged:
            law += "   DID NOT CONVERGE"
        remarks = "".join(f"\n  {remark.format(x=x)}" for remark in self.remarks)
        return f"{law}\n  {self.intervals_text()}{remarks}"

    def intervals_text(self) -> str:
        """The intervals in one line, or why there are none."""
        if self.why_no_intervals:
            return f"no intervals, nothing identified: {self.why_no_intervals}"
        known = self.identified
        parts = [
            f"{name} {ends_text(*ends)}{'' if known[name] else ', not identified'}"
            for name, ends in self.intervals.items()
        ]
        return (", " if all(known.values()) else "; ").join(parts)

    def _is_identified(self, name: str) -> bool:
        low, high = self.intervals[name]
        k = self.problem.shape.names.index(name)
        lowest, highest = (self.problem.in_its_unit(k, end) for end in self.problem.ends_2K[:, k])
        return bool(math.isfinite(low) and math.isfinite(high) and low > lowest and high < highest)


def ends_text(low: float, high: float, digits: str = ".4g") -> str:
    """An interval in words where it has no end."""
    if math.isinf(high) and math.isinf(low):
        return "without an end on either side"
    if math.isinf(high):
        return f"from {low:{digits}}, no upper end"
    return f"to {high:{digits}}, no lower end" if math.isinf(low) else f"in [{low:{digits}}, {high:{digits}}]"


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
) -> Fit:
    """Fit a law to points (x, y).
    x: (n,) > 0, patch side [px] or another size.  y: (n,) > 0, test loss [nats].  Points that share an x (seeds)
    are so many points. Needs as many different x as the form has parameters, and one point more for intervals.
    form: power, shifted, bounded, m4, broken.  space: residuals of "log" y, or of y itself ("linear").
    loss: "squares", or "huber" with delta in units of the residuals.
    given: parameters that are known and not fitted, as {"L_inf": 0.8}; bounded and m4 need L_0 there.
    Raises ValueError, with the numbers, for anything else."""
    return _fit((x,), y, form, space=space, loss=loss, delta=delta, confidence=confidence, given=given)


def fit2(x1: ArrayLike, x2: ArrayLike, y: ArrayLike, form: str = "general", **options: Any) -> Fit:
    """Fit a law of two variables to points (x1, x2, y): "general" E + A / x1^a + B / x2^b, or "joint" E + A x1^-a +
    B x2^b of parameters and patch sides.
    x1, x2: (n,) > 0.  y: (n,) > 0.  n: 5 or more (6 for intervals), with two different x1 and x2 or more.  options:
    space, loss, delta, confidence, given, as for fit."""
    return _fit((x1, x2), y, form, **options)


def fit3(x1: ArrayLike, x2: ArrayLike, x3: ArrayLike, y: ArrayLike, form: str = "surface", **options: Any) -> Fit:
    """Fit a law of three variables to points: "surface" A N^-a I^-c (1 + B p^b N^-d I^-e) of parameters x1, patch sides
    x2 [px] and image sides x3 [px], or "floored", F (1 + (M / N)^a) in the place of A N^-a.
    x1, x2, x3, y: (n,) > 0, n 8 or more, and one more for intervals (surface: 7). options: as for fit2."""
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
) -> Fit:
    given = given or {}
    check_choices(form, space, loss, delta, confidence, len(x))
    x_VN, y_N = checked(x, y, form, given)
    largest = LARGEST_DELTA * (1.0 if space == "log" else float(y_N.max()))
    if loss == "huber" and delta > largest:
        raise ValueError(f"delta {delta:g} is above {largest:g}, beyond every residual; loss='squares' is that limit")
    return _law(len(x), x_VN.tobytes(), y_N.tobytes(), form, space, loss, delta, confidence, tuple(given.items()))


@lru_cache(maxsize=512)  # a table, a report and figures want the laws of the same points, their intervals and bands
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
) -> Fit:
    """The law of points that were checked. x, y: those of (V, N) and (N,) numbers, so that a Fit that is kept has its
    own, which nobody can write to."""
    shape, given = FORMS[form], dict(known)
    x_VN, y_N = np.frombuffer(x).reshape(V, -1), np.frombuffer(y)
    problem, given_K = _problem(shape, x_VN, y_N, space, confidence, delta if loss == "huber" else math.inf, given)
    theta_SK = starts(problem, given_K)
    best, valleys_PK = best_valley(replace(problem, delta=math.inf), theta_SK)
    if loss == "huber":
        best, valleys_PK = best_valley(problem, np.concatenate([best.theta_SK, theta_SK]))
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
        residuals=-r_N * unit,
        loss=float(np.sum(huber(r_N, problem.delta))) * unit**2 * (0.5 if loss == "huber" else 1.0),
        objective=loss,
        delta=problem.delta * unit,
        r2=float(1 - np.sum(log_r_N**2) / np.sum(about_N**2)),
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
        valleys_PK=valleys_PK,
    )


def best_valley(problem: Problem, theta_SK: Array) -> tuple[Minimum, Array]:
    """The deepest valley that is reached from the starts, alone in a Valley; and theta of a few others."""
    free_SK = np.tile(problem.free_K, (len(theta_SK), 1))
    valley = descend(problem.residual, theta_SK, problem.bounds_2K, free_SK, delta=problem.delta, steps=15)
    ahead = np.argsort(valley.cost_S, kind="stable")  # all but a few would only arrive later at the same places
    costs = valley.cost_S[ahead]
    apart = np.flatnonzero(np.diff(costs) > 1e-3 * costs[1:]) + 1
    others_PK = valley.theta_SK[ahead[apart[:VALLEYS]]]
    ahead = ahead[:3]
    begin_SK = valley.theta_SK[ahead]
    down: Any = lambda theta_SK, free_SK, steps: descend(  # noqa: E731
        problem.residual, theta_SK, problem.bounds_2K, free_SK, delta=problem.delta, steps=steps
    )
    valley = down(begin_SK, free_SK[ahead], 100)
    if not valley.converged_S[lowest := int(np.argmin(valley.cost_S))]:
        begin_K = valley.theta_SK[lowest]
        if math.isinf(problem.delta):
            begin_K = newton(problem.residual, begin_K, problem.bounds_2K, problem.free_K)
        valley = down(begin_K[None], free_SK[:1], 3000)
    S = [int(np.argmin(valley.cost_S))]
    return Minimum(valley.theta_SK[S], valley.cost_S[S], valley.converged_S[S], valley.slope_S[S]), others_PK


def at_infinity(problem: Problem, best: Minimum) -> Minimum:
    """The valley with exponents at their bounds, which stand for infinity, where the data tell no difference: a place
    in a flat valley is not told by where a descent happened to stop."""
    steep_K = np.isinf(problem.ends_2K[1]) & np.isfinite(problem.bounds_2K[1]) & problem.free_K
    steep_K &= np.abs(best.theta_SK[0]) > FLATTENS * problem.bounds_2K[1]
    if not steep_K.any():
        return best
    theta_K = best.theta_SK[0].copy()
    for move in problem.shape.moves:
        if move.exponent is not None and steep_K[move.exponent]:
            k, z_N = move.exponent, problem.z_VN[move.variable]
            change = problem.bounds_2K[int(theta_K[k] > 0), k] - theta_K[k]
            end = z_N.max() if change * -move.sign > 0 else z_N.min()
            theta_K[move.parameter] += move.sign * change * (end - problem.pivot_V[move.variable])
            theta_K[k] += change
    free_1K = (problem.free_K & ~steep_K)[None]
    valley = descend(problem.residual, theta_K[None], problem.bounds_2K, free_1K, delta=problem.delta)
    return valley if valley.cost_S[0] <= best.cost_S[0] * (1 + 1e-9) + 1e-30 else best


def _problem(
    shape: Form,
    x_VN: Array,
    y_N: Array,
    space: str,
    confidence: float,
    delta: float,
    given: Mapping[str, float],
) -> tuple[Problem, Array]:
    """The problem, and theta of what is given (nan for the others)."""
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
    if "x_break" in shape.names:  # a break outside the data is none
        k = shape.names.index("x_break")
        bounds_2K[:, k] = z_VN.min() - pivot_V[0], z_VN.max() - pivot_V[0]
    ends_2K = bounds_2K.copy()
    for move in shape.moves:
        if move.exponent is not None:
            steepest = ENOUGH / float(np.diff(np.unique(z_VN[move.variable])).min())
            bounds_2K[:, move.exponent] = -steepest, steepest
    if "beta" in shape.names:  # by as much the exponents on both sides of a break may differ
        k = shape.names.index("beta")
        bounds_2K[:, k] = 2 * bounds_2K[:, shape.names.index("alpha")]
    bounds_2K[:, ~np.isnan(given_K)] = [[-math.inf], [math.inf]]
    delta /= 1.0 if space == "log" else scale
    free_K = np.isnan(given_K)
    return Problem(
        shape, z_VN, y_N / scale, scale, space, delta, confidence, pivot_V, bounds_2K, ends_2K, free_K
    ), given_K


def _why_no_intervals(problem: Problem, converged: bool) -> str:
    k = int(problem.free_K.sum())
    if problem.df <= 0:
        return f"{problem.y_N.size} points, {k} parameters"
    return "" if converged else "the fit did not converge"
