"""Fitting laws, compared with scipy: one fit, one with its intervals, a bootstrap, two variables.

The peer is what one writes with scipy.optimize.least_squares: the same residuals with analytic slopes and the same
starts, one after the other, and for a bootstrap one refit after the other from the law itself. Both take turns in one
process. The peer gives no intervals; there it is the fit alone.
"""

import functools
from collections.abc import Callable
from typing import Literal

import numpy as np
from rich.table import Table
from scipy.optimize import least_squares

from analysis.fitting.bootstrap import bootstrap
from analysis.fitting.initial_guesses import FLOORS
from analysis.fitting.laws import Fit, _law, fit, fit2
from analysis.fitting.lineshapes import joint
from experiments.benchmarks.timing import interleaved

PATCH = np.array([16.0, 8, 4, 2, 1])
DRAWS, PEER_DRAWS, TURNS = 4000, 100, 9
BOUNDS = ([0, -np.inf, -np.inf], np.inf)


def laws() -> Table:
    """Median milliseconds of each, ours and the peer's, and their ratio."""
    rng = np.random.default_rng(0)
    loss = (0.4 + 0.3 * PATCH**0.6) * np.exp(0.01 * rng.normal(size=5))
    sizes, patches = (grid.ravel() for grid in np.meshgrid(1e6 * 4.0 ** np.arange(5), PATCH))
    grid_loss = joint(sizes, patches, 0.5, 120.0, 0.35, 0.03, 0.9) * np.exp(0.003 * rng.normal(size=25))
    law = fit(PATCH, loss, "shifted")
    per_draw = DRAWS / PEER_DRAWS
    rows: dict[str, tuple[Callable[[], object], Callable[[], object], float]] = {
        "shifted law, squares": (lambda: fit(PATCH, loss, "shifted"), lambda: _peer(loss), 1),
        "shifted law, Huber": (lambda: fit(PATCH, loss, "shifted", loss="huber"), lambda: _peer(loss, "huber"), 1),
        "with its intervals": (lambda: fit(PATCH, loss, "shifted").intervals, lambda: _peer(loss), 1),
        "joint law, 25 points": (lambda: fit2(sizes, patches, grid_loss, "joint"), _none, 1),
        f"{DRAWS:,} refits": (lambda: bootstrap(law, draws=DRAWS), lambda: _refits(law), per_draw),
    }
    table = Table("laws", "ours [ms]", "scipy [ms]", "scipy / ours", title="fitting laws, one thread, in turn")
    for name, (ours, peer, scale) in rows.items():
        took = interleaved({"ours": functools.partial(_anew, ours), "scipy": peer}, turns=TURNS, warm=1)
        mine, theirs = 1000 * took["ours"], 1000 * scale * took["scipy"]
        peer_cells = ("-", "-") if peer is _none else (f"{theirs:,.1f}", f"{theirs / mine:.1f}")
        table.add_row(name, f"{mine:,.1f}", *peer_cells)
    return table


def _anew(fits: Callable[[], object]) -> None:
    """Fit, whatever was fitted before."""
    _law.cache_clear()
    fits()


def _residual(theta: np.ndarray, loss: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.log(theta[0] + np.exp(theta[1] + theta[2] * np.log(PATCH))) - np.log(loss)


def _slopes(theta: np.ndarray, _: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        rise = np.exp(theta[1] + theta[2] * np.log(PATCH))
    return np.stack([np.ones_like(rise), rise, rise * np.log(PATCH)], axis=1) / (theta[0] + rise)[:, None]


def _peer(loss: np.ndarray, kind: Literal["linear", "huber"] = "linear") -> np.ndarray:
    found = []
    for share in FLOORS:
        floor = share * loss.min()
        line = np.polyfit(np.log(PATCH), np.log(loss - floor), 1)
        start = [floor, line[1], line[0]]
        found.append(least_squares(_residual, start, _slopes, bounds=BOUNDS, loss=kind, f_scale=1e-3, args=(loss,)))
    return min(found, key=lambda one: one.cost).x


def _refits(law: Fit) -> None:
    rng = np.random.default_rng(0)
    start = [law.parameters["L_inf"], np.log(law.parameters["A"]), law.parameters["alpha"]]
    for _ in range(PEER_DRAWS):
        loss = law.predict(PATCH) * np.exp(0.01 * rng.normal(size=5))
        least_squares(_residual, start, _slopes, bounds=BOUNDS, args=(loss,))


def _none() -> None:
    """No peer."""
