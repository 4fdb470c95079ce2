"""What of a law is drawn, in figures and in the report page: over which places, whether at all, and its interval."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.fitting.result import Fit
from analysis.records.shared_weights import are_shared

WIDEST = 1.5  # a band that is everywhere wider than the data by this ratio is not drawn
BEYOND = 0.04  # share of the axis by which a law is drawn past its points


def places_of(low: float, high: float, count: int) -> np.ndarray:
    """Where a law is drawn: over its points, from low to high, and a little beyond."""
    past = (high / low) ** BEYOND
    return np.geomspace(low / past, high * past, count)


def interpolates(law: Fit) -> bool:
    """Whether a law passes through all of its points by having as many parameters: then it is not drawn."""
    return law.n <= len(law.parameters)


def of_one_run(points: pd.DataFrame) -> bool:
    """Whether all points share the weights of one run: then a law has no interval."""
    return are_shared(points) and bool(points["run_id"].nunique() == 1)


class Interval(NamedTuple):
    """The 95 % interval of a law."""

    at: np.ndarray
    low: np.ndarray
    high: np.ndarray
    bars: bool  # one at each point, and no band between them


def interval_of(law: Fit, places: np.ndarray) -> Interval:
    """At these places; or, where the exponent is not identified, at the points alone: between them the law is
    unconstrained."""
    bars = any(not known and name in ("alpha", "b") for name, known in law.identified.items())
    at = np.unique(law.x) if bars else places
    return Interval(at, *law.band(at), bars)
