"""Checks of laws that are too slow for the tests: how often intervals hold the truth, and curves of any kind.

coverage  of profile-likelihood intervals and of both parametric bootstraps, in 100 sets of data whose law is known.
fuzz      the shifted law of 10,000 curves: with and without a floor, flat, with a corner at either end, rising, without
          any order; seeds, four to six patch sizes; errors from 0.01 to 20 %. Every fifth one again in another unit.
"""

import math

import numpy as np
from rich.table import Table

from analysis.fitting.bootstrap import bootstrap
from analysis.fitting.laws import fit
from analysis.fitting.model import FORMS
from experiments.benchmarks.laws import PATCH

SETS, DRAWS, CURVES = 250, 1000, 10_000
GROWING = np.geomspace(0.002, 0.03, 5)
POWER, SHIFTED = {"A": 0.6, "alpha": 0.4}, {"L_inf": 0.4, "A": 0.3, "alpha": 0.6}
CASES = (  # form, truth, seeds, noise of log L
    ("power", POWER, 1, 0.02),
    ("shifted", SHIFTED, 1, 0.003),
    ("shifted", SHIFTED, 1, 0.01),
    ("shifted", SHIFTED, 1, 0.03),
    ("shifted", SHIFTED, 3, 0.01),
    ("shifted", SHIFTED, 3, 0.03),
    ("power", POWER, 1, GROWING),
    ("power", POWER, 3, GROWING),
    ("shifted", SHIFTED, 3, GROWING),
)
PATCHES = ([16, 8, 4, 2, 1], [16, 8, 4, 2], [32, 16, 8, 4, 2, 1], [16, 8, 4, 2, 1, 1, 2, 4, 8, 16], [14, 8, 7, 4, 2])


def coverage() -> Table:
    """How often the 95 % interval of each parameter holds the truth [%]."""
    title = f"of {SETS} sets of data, how many 95 % intervals hold the truth [%]"
    table = Table("law", "seeds", "noise [%]", "interval", *SHIFTED, title=title)
    for form, truth, seeds, noise in CASES:
        x, size = np.repeat(PATCH, seeds), np.repeat(np.broadcast_to(noise, 5), seeds)
        rng, held = np.random.default_rng(5), dict[str, list[list[bool]]]()
        for _ in range(SETS):
            law = fit(x, FORMS[form].law(x, **truth) * np.exp(size * rng.normal(size=len(x))), form)
            found = {"profile": law.intervals, "bootstrap of residuals": bootstrap(law, draws=DRAWS).intervals()}
            if seeds > 1:
                found["bootstrap of seeds"] = bootstrap(law, "seeds", draws=DRAWS).intervals()
            for kind, its in found.items():
                held.setdefault(kind, []).append([its[name][0] <= truth[name] <= its[name][1] for name in truth])
        sizes = f"{100 * size[0]:g}" if size[0] == size[-1] else f"{100 * size[0]:g} to {100 * size[-1]:g}"
        for kind, hits in held.items():
            shares = dict(zip(truth, 100 * np.mean(hits, axis=0), strict=True))
            table.add_row(form, str(seeds), sizes, kind, *(f"{shares[n]:.0f}" if n in shares else "-" for n in SHIFTED))
    return table


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
    ends = np.array([one.intervals[name] for name in SHIFTED])
    scaled = np.array([other.intervals[name] for name in SHIFTED]) / [[unit], [unit], [1.0]]
    return not np.allclose(scaled, ends, rtol=1e-4, atol=1e-9)
