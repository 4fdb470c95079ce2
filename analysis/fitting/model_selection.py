"""Evidence: which form the data speak for, and how well a law says what it has not seen."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.fitting.laws import FORMS, Fit, fit
from analysis.fitting.minimizer import Array


class HeldOut(NamedTuple):
    """A measurement that a law was not fitted to, and what the law says there."""

    x: float
    measured: float  # the mean over seeds, in the units of y
    predicted: float
    low: float  # ends of the law's interval there; nan where it has none
    high: float
    n: int  # points that the law was fitted to
    last: float  # what two naive rules say there: the value at the next x,
    half: float  # and that with half of the last gain once more, 0 at the least

    @property
    def error(self) -> float:
        """predicted - measured, in the units of y."""
        return self.predicted - self.measured

    @property
    def relative(self) -> float:
        """The error over what was measured [1]."""
        return self.error / self.measured

    @property
    def naive(self) -> tuple[float, float]:
        """The errors of the two naive rules over what was measured [1]: a law that misses by more says nothing."""
        return self.last / self.measured - 1, self.half / self.measured - 1


def hold_out(x: ArrayLike, y: ArrayLike, form: str = "shifted", *, end: str = "smallest", **options: Any) -> HeldOut:
    """Fit a law without the points at the smallest x (of a patch: the finest) and say what it predicts there.
    end: "smallest", or "largest" for an x that grows with the cost.  options: of fit.  Raises ValueError as fit does,
    so where too few x are left."""
    if end not in ("smallest", "largest"):
        raise ValueError(f"unknown end {end!r}; there is: smallest, largest")
    xs, ys = np.asarray(x, float), np.asarray(y, float)
    if xs.ndim != 1 or xs.shape != ys.shape or not len(xs):
        raise ValueError(f"x has shape {xs.shape} and y {ys.shape}; two lists of equal length are needed")
    at = xs.min() if end == "smallest" else xs.max()
    law = fit(xs[xs != at], ys[xs != at], form, **options)
    low, high = law.band(at)
    measured = float(np.exp(np.log(ys[xs == at]).mean()))
    last, half = _naive(xs[xs != at], ys[xs != at], end)
    return HeldOut(float(at), measured, float(law.predict(at)[0]), float(low[0]), float(high[0]), law.n, last, half)


def _naive(x: Array, y: Array, end: str) -> tuple[float, float]:
    """The value at the last x before the end, and that with half of its gain once more; means over seeds."""
    places = np.unique(x) if end == "smallest" else np.unique(x)[::-1]
    values = [float(np.exp(np.log(y[x == place]).mean())) for place in places[:2]]
    return values[0], max(values[0] + (values[0] - values[1]) / 2, 0.0)  # a law was fitted to two x or more


def weigh(laws: Sequence[Fit]) -> pd.DataFrame:
    """Forms of one data set beside each other, a row a law: form, k (parameters), n, aicc, behind (aicc less the least
    one), weight (Akaike's [1]; nan unless all are defined) and told: "" or why the criterion is undefined.
    Raises ValueError where the laws are of different data."""
    if any(len(law.y) != len(laws[0].y) or not np.array_equal(law.y, laws[0].y) for law in laws):
        raise ValueError("the laws are fitted to different data; AICc compares forms on the same points only")
    if any(not np.array_equal(law.x, laws[0].x) for law in laws):
        raise ValueError("the laws are fitted over different x; AICc compares forms on the same points only")
    if len({law.space for law in laws}) > 1:
        raise ValueError("some laws have errors of log L and some of L itself; their AICc cannot be compared")
    rows: list[Mapping[str, Any]] = []
    for law in laws:
        few = f"undefined at this n: {law.n} points, more than {law.k + 2} are needed"
        why = "" if math.isfinite(law.aicc) else few
        if law.objective == "huber":
            why = "undefined for Huber's loss, which is no likelihood"
        rows.append({"form": law.form, "k": law.k, "n": law.n, "aicc": law.aicc, "told": why})
    table = pd.DataFrame(rows, columns=["form", "k", "n", "aicc", "told"])
    table.insert(4, "behind", table["aicc"] - table["aicc"].min())
    likelihood = np.exp(-table["behind"] / 2)
    table.insert(5, "weight", likelihood / likelihood.sum(skipna=False))
    return table


def fewest_points(form: str) -> int:
    """Different x below which a form is not fitted: one more than it has parameters to find, so that something is left
    to judge it by; 8 for the broken law."""
    shape = FORMS[form]
    return max(len(shape.names) - len(shape.known) + 1, shape.fewest)
