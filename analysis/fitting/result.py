"""Result of a fit: parameters, residuals, intervals and band of one law.

R^2 is that of the law in log L: 1 - (sum of squared residuals of log L) / (that of log L about its mean).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from analysis.fitting.confidence import intervals
from analysis.fitting.confidence_band import band
from analysis.fitting.lack_of_fit import LackOfFit
from analysis.fitting.likelihood_ratio import critical_rise
from analysis.fitting.minimizer import Array, Index
from analysis.fitting.problem import Problem
from analysis.fitting.validation import variables
from analysis.report.printfuncs import fit_summary

DESCRIBES = 0.95  # R2 of log L from which on a law describes its points [1]


@dataclass(frozen=True)
class Fit:
    """A fitted law. Parameters and their intervals by the names of analysis/fitting/lineshapes.py."""

    form: str
    parameters: Mapping[str, float]  # fitted and given ones
    given: Mapping[str, float]  # parameters that were held at a given value
    residuals: Array  # (n,) log L - log of the law, or L - the law where space is "linear"
    loss: float  # the minimised sum of squared residuals, or of Huber's function (r^2/2 near 0)
    objective: str  # "huber" or "squares"
    delta: float  # Huber's, in units of the residuals; inf for squares
    r2: float  # in log L
    lack_of_fit: LackOfFit | None  # test of the deviations against the errors; None where they allow none
    cost: float  # minimal sum of squared residuals times precision [squared unit of residuals], for the likelihood
    n: int
    starts: int  # number of starting values
    slope: float  # at the minimum: largest cosine between the residuals and a direction that changes them [1]
    converged: bool  # whether that slope is small
    space: str
    confidence: float
    why_no_intervals: str  # "" where there are some
    x: Array = field(repr=False)  # (n,), or (V, n) for several variables
    y: Array = field(repr=False)
    problem: Problem = field(repr=False)
    theta_K: Array = field(repr=False)
    other_minima_PK: Array = field(repr=False)
    run_N: Index | None = field(repr=False, default=None)  # run of each point; None: each is of a run of its own
    _bands: dict[bytes, Array] = field(repr=False, compare=False, default_factory=dict)  # (2, M), by the bytes of x

    @cached_property
    def intervals(self) -> Mapping[str, tuple[float, float]]:
        """Profile-likelihood interval of every fitted parameter, at `confidence`; nan where there is none."""
        if self.why_no_intervals:
            return {name: (math.nan, math.nan) for name in self.parameters if name not in self.given}
        return intervals(self.problem, self.theta_K, self.rise, self.other_minima_PK)

    @cached_property
    def rise(self) -> float:
        """By which fraction the objective may exceed its minimum before a law is rejected [1]."""
        return critical_rise(self.problem, self.theta_K, self.lack_of_fit)

    @property
    def describes(self) -> bool:
        """Whether the law describes its points: R2 of DESCRIBES or more, or deviations that their errors explain."""
        tested = self.lack_of_fit
        return self.converged and (self.r2 >= DESCRIBES or (tested is not None and not tested.significant))

    @cached_property
    def identified(self) -> Mapping[str, bool]:
        """Whether a fitted parameter's interval exists, has both ends, and reaches no bound."""
        return {name: self._is_identified(name) for name in self.intervals}

    @property
    def remarks(self) -> tuple[str, ...]:
        """Notes on the direction of the law, one sentence each: at which end of x the irreducible loss is reached."""
        slope, floor = self.parameters.get("alpha"), self.parameters.get("L_inf")
        if slope is None or self.problem.shape.variables != 1:
            return ()
        notes = [] if slope >= 0 else ["the law falls as {x} grows"]
        if floor is not None and slope < 0:
            notes = [f"{notes[0]}: L_inf is the limit of large {{x}}, not of small"]
        return tuple(notes)

    @property
    def k(self) -> int:
        """Parameters that were fitted [1]."""
        return len(self.parameters) - len(self.given)

    @cached_property
    def aicc(self) -> float:
        """Akaike's criterion for small samples (Hurvich and Tsai 1989, Biometrika 76), the variance of the errors
        counted as a parameter. Lower is better, among fits of the same data in the same space. nan where n <= k + 2,
        and for Huber's loss, which is no likelihood."""
        k = self.k + 1
        if self.n - k - 1 <= 0 or self.objective == "huber":
            return math.nan
        least = self.cost + (1e-15 * self.n) ** 2
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
        """The law with its intervals as text; x and y are the letters to use (analysis/report/printfuncs.py)."""
        return fit_summary(self, x, y)

    def _is_identified(self, name: str) -> bool:
        low, high = self.intervals[name]
        k = self.problem.shape.names.index(name)
        lowest, highest = (self.problem.in_its_unit(k, end) for end in self.problem.ends_2K[:, k])
        return bool(math.isfinite(low) and math.isfinite(high) and low > lowest and high < highest)
