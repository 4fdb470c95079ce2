"""Laws of runs that gave several points each, such as one model evaluated at every patch size it learned.

The points of such a run share weights, so their errors are not independent, and only runs count as repetitions: the
interval of a parameter, and the band of the law, are from draws of whole runs (kind "runs" of
analysis/fitting/bootstrap.py). With one run there is none. Points weigh equally, no F test compares their deviations
with their scatter, and AICc, which counts independent points, is undefined.
"""

import dataclasses
import math
from collections.abc import Mapping
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike

from analysis.fitting.bootstrap import Bootstrap, bootstrap, fewest_runs
from analysis.fitting.laws import fit
from analysis.fitting.minimizer import Array, Index
from analysis.fitting.model_selection import HeldOut, hold_out
from analysis.fitting.result import Fit

DRAWS = 2000


@dataclasses.dataclass(frozen=True)
class SharedFit(Fit):
    """A law of points of which several are of one run (run_N)."""

    @cached_property
    def _drawn(self) -> Bootstrap:
        return bootstrap(self, "runs", draws=DRAWS)

    @cached_property
    def intervals(self) -> Mapping[str, tuple[float, float]]:
        """Interval of every fitted parameter over draws of runs, at `confidence`; nan where there is none."""
        if self.why_no_intervals:
            return {name: (math.nan, math.nan) for name in self.parameters if name not in self.given}
        found = self._drawn.intervals(self.confidence)
        points = self.parameters
        return {name: (min(low, points[name]), max(high, points[name])) for name, (low, high) in found.items()}

    @cached_property
    def aicc(self) -> float:
        return math.nan

    def band(self, *x: ArrayLike) -> tuple[Array, Array]:
        """Interval of the law over draws of runs at each x, low and high; nan where there is none."""
        if self.why_no_intervals:
            none_M = np.full(np.atleast_1d(np.asarray(x[0], float)).shape, np.nan)
            return none_M, none_M.copy()
        return self._drawn.band(*x, confidence=self.confidence)


def fit_runs(x: ArrayLike, y: ArrayLike, run: ArrayLike, form: str, given: Mapping[str, float] | None = None) -> Fit:
    """A law of points (x, y) of which those of equal `run` share weights. Arguments and errors as for fit."""
    index_N = np.unique(np.asarray(run), return_inverse=True)[1].astype(np.int64)
    x_N, y_N = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return _law(x_N.tobytes(), y_N.tobytes(), index_N.tobytes(), form, tuple((given or {}).items()))


@lru_cache(maxsize=128)  # tables, report and figures use the same laws and their draws
def _law(x: bytes, y: bytes, run: bytes, form: str, given: tuple[tuple[str, float], ...]) -> SharedFit:
    x_N, y_N, run_N = np.frombuffer(x), np.frombuffer(y), np.frombuffer(run, np.int64)
    law = fit(x_N, y_N, form, given=dict(given), sigma=np.ones_like(y_N))
    why = law.why_no_intervals or why_no_draws(x_N, run_N)
    parts = {f.name: getattr(law, f.name) for f in dataclasses.fields(law)}
    return SharedFit(**{**parts, "run_N": run_N, "why_no_intervals": why, "lack_of_fit": None})


def why_no_draws(x_N: Array, run_N: Index) -> str:
    """Why runs cannot be drawn; "" where they can."""
    if (fewest := fewest_runs(x_N)) > 1:
        return ""
    return "one run, whose points share its weights" if len(set(run_N.tolist())) == 1 else f"a size has {fewest} run"


def hold_out_runs(x: ArrayLike, y: ArrayLike, form: str, end: str, given: Mapping[str, float]) -> HeldOut:
    """hold_out with equal weights, without an interval of the prediction: the held-out points are of the same runs."""
    return hold_out(x, y, form, end=end, given=given, sigma=np.ones(len(np.asarray(y))))._replace(
        low=math.nan, high=math.nan
    )
