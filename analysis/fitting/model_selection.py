"""Model selection: forms compared by AICc and by held-out error."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from typing_extensions import Unpack

from analysis.fitting.laws import Fit, FitOptions, fit
from analysis.fitting.minimizer import Array
from analysis.fitting.model import FORMS


class HeldOut(NamedTuple):
    """A measurement excluded from a fit, and the prediction of that fit."""

    x: float
    measured: float  # the mean over seeds, in the units of y
    predicted: float
    low: float  # 95 % interval of the law there; nan where it has none
    high: float
    n: int  # points in the fit
    last: float  # baseline 1: the value at the next x
    half: float  # baseline 2: that value plus half of the last improvement, at least 0

    @property
    def error(self) -> float:
        """predicted - measured, in the units of y."""
        return self.predicted - self.measured

    @property
    def relative(self) -> float:
        """The error divided by the measured value [1]."""
        return self.error / self.measured

    @property
    def baselines(self) -> tuple[float, float]:
        """The relative errors of the two baselines [1]: a law with a larger error is not useful."""
        return self.last / self.measured - 1, self.half / self.measured - 1


def hold_out(
    x: ArrayLike, y: ArrayLike, form: str = "shifted", *, end: str = "smallest", **options: Unpack[FitOptions]
) -> HeldOut:
    """Fit a law without the points at the smallest x (of patches: the finest) and predict them.
    end: "smallest", or "largest" for an x that grows with the cost.  options: of fit.  Raises ValueError as fit
    does, also where too few x are left."""
    if end not in ("smallest", "largest"):
        raise ValueError(f"unknown end {end!r}; choose from: smallest, largest")
    xs, ys = np.asarray(x, float), np.asarray(y, float)
    if xs.ndim != 1 or xs.shape != ys.shape or not len(xs):
        raise ValueError(f"x has shape {xs.shape} and y {ys.shape}; two lists of equal length are needed")
    at = xs.min() if end == "smallest" else xs.max()
    if (sigma := options.get("sigma")) is not None:
        options["sigma"] = np.asarray(sigma, float)[xs != at]
    law = fit(xs[xs != at], ys[xs != at], form, **options)
    low, high = law.band(at)
    measured = float(np.exp(np.log(ys[xs == at]).mean()))
    last, half = baselines(xs[xs != at], ys[xs != at], end)
    return HeldOut(float(at), measured, float(law.predict(at)[0]), float(low[0]), float(high[0]), law.n, last, half)


def baselines(x: Array, y: Array, end: str) -> tuple[float, float]:
    """The value at the last x before the end, and that plus half of its improvement; means over seeds."""
    places = np.unique(x) if end == "smallest" else np.unique(x)[::-1]
    values = [float(np.exp(np.log(y[x == place]).mean())) for place in places[:2]]
    return values[0], max(values[0] + (values[0] - values[1]) / 2, 0.0)  # at least two x: a law was fitted


def compare_forms(laws: Sequence[Fit]) -> pd.DataFrame:
    """Forms fitted to one data set by AICc, a row per law: form, k (parameters), n, aicc, delta_aicc (to the lowest),
    weight (Akaike weight [1]; nan unless all are defined) and note: "" or why AICc is undefined.
    Raises ValueError where the laws are of different data."""
    if any(len(law.y) != len(laws[0].y) or not np.array_equal(law.y, laws[0].y) for law in laws):
        raise ValueError("the laws are fitted to different data; AICc compares forms on the same points only")
    if any(not np.array_equal(law.x, laws[0].x) for law in laws):
        raise ValueError("the laws are fitted over different x; AICc compares forms on the same points only")
    if any(not np.array_equal(law.problem.precision_N, laws[0].problem.precision_N) for law in laws):
        raise ValueError("the laws weigh the points differently; AICc compares forms with the same sigma only")
    if len({law.space for law in laws}) > 1:
        raise ValueError("some laws minimise errors of log L and some of L; their AICc are not comparable")
    rows: list[dict[str, object]] = []
    for law in laws:
        few = f"undefined at this n: {law.n} points, more than {law.k + 2} are needed"
        why = "" if math.isfinite(law.aicc) else few
        if law.objective == "huber":
            why = "undefined for Huber's loss, which is no likelihood"
        rows.append({"form": law.form, "k": law.k, "n": law.n, "aicc": law.aicc, "note": why})
    table = pd.DataFrame(rows, columns=["form", "k", "n", "aicc", "note"])
    table.insert(4, "delta_aicc", table["aicc"] - table["aicc"].min())
    likelihood = np.exp(-table["delta_aicc"] / 2)
    table.insert(5, "weight", likelihood / likelihood.sum(skipna=False))
    return table


def fewest_points(form: str) -> int:
    """Smallest number of distinct x for a form: one more than fitted parameters, for a degree of freedom; 8 for the
    broken law."""
    shape = FORMS[form]
    return max(len(shape.names) - len(shape.known) + 1, shape.fewest)
