"""Checks of laws that are too slow for the tests: how often intervals hold the truth, and curves of any kind.

coverage  of profile-likelihood intervals, with weights from the seeds and with given standard errors, and of both
          parametric bootstraps, in 500 sets of data whose law is known; and how often the true law has a significant
          lack of fit. analysis/measured/coverage.csv holds them.
fuzz      the shifted law of 10,000 curves: with and without a floor, flat, with a corner at either end, rising, without
          any order; seeds, four to six patch sizes; errors from 0.01 to 20 %. Every fifth one again in another unit.
"""

import math

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from analysis.fitting.bootstrap import bootstrap
from analysis.fitting.laws import fit
from analysis.fitting.model import FORMS
from experiments.benchmarks.laws import PATCH

SETS, DRAWS, CURVES = 500, 1000, 10_000
ERRORS = {  # of log L at patches 16 to 1 [1]
    "2": np.full(5, 0.02),
    "0.3": np.full(5, 0.003),
    "0.2 to 3": np.geomspace(0.002, 0.03, 5),
    "3 to 0.2": np.geomspace(0.03, 0.002, 5),
    "1, at patch 4 5": np.array([0.01, 0.01, 0.05, 0.01, 0.01]),
}
TRUTHS = {"power": {"A": 0.6, "alpha": 0.4}, "shifted": {"L_inf": 0.4, "A": 0.3, "alpha": 0.6}}
CASES = [  # form, seeds, name of the errors
    *((form, 1, name) for form in TRUTHS for name in ("2", "0.3", "0.2 to 3")),
    *((form, seeds, name) for form in TRUTHS for seeds in (3, 5) for name in ERRORS if name != "0.3"),
]
COLUMNS = ("law", "seeds", "errors [%]", "interval", "L_inf", "A", "alpha", "lack of fit")
PATCHES = ([16, 8, 4, 2, 1], [16, 8, 4, 2], [32, 16, 8, 4, 2, 1], [16, 8, 4, 2, 1, 1, 2, 4, 8, 16], [14, 8, 7, 4, 2])


def coverage() -> Table:
    """How often the 95 % interval of each parameter holds the truth [%], and how often the true law has a significant
    lack of fit [%]."""
    table = Table(*COLUMNS, title=f"of {SETS} sets of data, how many 95 % intervals hold the truth [%]")
    for case in CASES:
        for row in coverage_of(*case):
            table.add_row(*row)
    return table


def coverage_of(form: str, seeds: int, errors: str) -> list[list[str]]:
    """The rows of one case, a row per kind of interval."""
    truth, x, sigma = TRUTHS[form], np.repeat(PATCH, seeds), np.repeat(ERRORS[errors], seeds)
    rng = np.random.default_rng(5)
    held: dict[str, list[list[bool]]] = {}
    rejected: dict[str, list[bool]] = {}
    for _ in range(SETS):
        y = FORMS[form].law(x, **truth) * np.exp(sigma * rng.normal(size=len(x)))
        law, known = fit(x, y, form), fit(x, y, form, sigma=sigma)
        found = {"profile": law.intervals, "profile, errors given": known.intervals}
        found["bootstrap of residuals"] = bootstrap(law, draws=DRAWS).intervals()
        if seeds > 1:
            found["bootstrap of seeds"] = bootstrap(law, "seeds", draws=DRAWS).intervals()
        for kind, its in found.items():
            held.setdefault(kind, []).append([its[name][0] <= truth[name] <= its[name][1] for name in truth])
        for kind, tested in (("profile", law.lack_of_fit), ("profile, errors given", known.lack_of_fit)):
            if tested is not None:
                rejected.setdefault(kind, []).append(tested.significant)
    rows = []
    for kind, hits in held.items():
        shares = dict(zip(truth, _percent(np.array(hits)), strict=True))
        lack = f"{_percent(np.array(rejected[kind])):.1f}" if kind in rejected else "-"
        cells = (f"{shares[name]:.1f}" if name in shares else "-" for name in COLUMNS[4:7])
        rows.append([form, str(seeds), errors, kind, *cells, lack])
    return rows


def _percent(hits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The share of true values along the first axis [%]."""
    return np.asarray(100 * np.mean(hits, axis=0), np.float64)


def curve(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Patch sizes [px] and losses of one curve."""
    rng = np.random.default_rng(number)
    p = np.array(PATCHES[rng.integers(len(PATCHES)) if rng.random() < 0.25 else 0], float)
    alpha, floor = rng.choice([0.05, 0.2, 0.6, 1.5, 3.0, -0.5]), rng.uniform()
    kinds = [floor + 0.3 * p**alpha, 0.9 + 0.02 * p**alpha, np.ones_like(p), np.where(p == p.max(), 1.2, 1.0)]
    kinds += [
        np.where(p == p.min(), 0.8, 1.0),
        0.5 * p**alpha,
        0.3 + 0.1 * np.log(p + 0.5),
        rng.uniform(0.5, 1.5, len(p)),
    ]
    loss = kinds[rng.integers(len(kinds))] * np.exp(10 ** rng.uniform(-4, -0.7) * rng.normal(size=len(p)))
    return p, np.round(loss, 2) + 0.01 if rng.random() < 0.1 else loss


def fuzz() -> Table:
    """Kinds of wrong intervals, and the number of curves that have them."""
    wrong = dict.fromkeys(
        ("raised", "not converged", "outside its interval", "an end by accident", "moved with the unit"), 0
    )
    for number in range(CURVES):
        p, loss = curve(number)
        if np.all(loss == loss[0]):
            continue
        try:
            law = fit(p, loss, "shifted")
            ends = law.intervals
        except Exception:
            wrong["raised"] += 1
            continue
        wrong["not converged"] += not law.converged
        wrong["outside its interval"] += any(not low <= law.parameters[k] <= high for k, (low, high) in ends.items())
        every = [end for its in ends.values() for end in its]
        wrong["an end by accident"] += any(math.isnan(end) or 1e6 < abs(end) < math.inf for end in every)
        if number % 5 == 0:
            wrong["moved with the unit"] += _moved(p, loss, 10.0 ** np.random.default_rng(number).uniform(-12, 12))
    table = Table("wrong", "curves", title=f"the shifted law of {CURVES:,} curves")
    for what, many in wrong.items():
        table.add_row(what, str(many))
    return table


def _moved(p: np.ndarray, loss: np.ndarray, unit: float) -> bool:
    """Whether the intervals of the loss in another unit are other intervals."""
    one, other = fit(p, loss, "shifted"), fit(p, loss * unit, "shifted")
    ends = np.array([one.intervals[name] for name in TRUTHS["shifted"]])
    scaled = np.array([other.intervals[name] for name in TRUTHS["shifted"]]) / [[unit], [unit], [1.0]]
    return not np.allclose(scaled, ends, rtol=1e-4, atol=1e-9)
