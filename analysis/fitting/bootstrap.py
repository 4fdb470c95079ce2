"""Bootstrap: a law's parameters over data that might have been measured instead, all refitted in one batch.

    parametric  the law times normal errors of the size of its residuals, sqrt(sum of squares / (n - k))
    seeds       the law times errors of the size in which seeds of one x differ: noise of training alone. Where every x
                has 3 seeds or more each x has a size of its own, else one is pooled
    pairs       points (x, y) drawn with replacement; from 8 points up: of 5 it would draw 3 different x or fewer
                in every second set
That size is not known but from f degrees of freedom, and two of them say little: so each draw has a size of its own,
the one times sqrt(f / chi^2_f). Of a law that is linear in its parameters the interval is then the textbook's t
interval; with one size for all draws, as is usual, it held the truth 81 to 86 times in 100 at five points.
Source: Davison and Hinkley 1997, Bootstrap Methods and their Application, 6.2 and 7.3; of the sizes Box and Tiao 1973,
Bayesian Inference in Statistical Analysis, 2.4: draws of the errors' size given the data.
Letters: S draws, N data, K parameters, V variables, M places on a curve.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc

from analysis.fitting.laws import Fit
from analysis.fitting.likelihood import with_slopes
from analysis.fitting.minimizer import Array, Index, descend

FEWEST_PAIRS = 8  # points
FEWEST_SEEDS = 3  # at every x, for a size of errors of its own
FARTHEST = 50.0  # of an error of log y [1]
KINDS = ("parametric", "seeds", "pairs")
# Of 100 intervals of 95 %, how many held the truth: `experiments/benchmark.py coverage`, power and shifted laws at five
# patch sizes, one seed or three, errors of 0.3 to 3 %; and where errors grow from 0.2 to 3 % towards patch 1.
COVERAGE = {
    "profile": "93 to 96 of 100; 75 to 90 where errors grow tenfold towards small patches",
    "parametric": "92 to 95 of 100; 74 to 91 where errors grow tenfold towards small patches",
    "seeds": "96 to 100 of 100; so too where errors grow tenfold towards small patches",
}


@dataclass(frozen=True)
class Bootstrap:
    """Refits of a law. Those that did not converge are left out, and counted."""

    kind: str
    parameters: pd.DataFrame  # a row a refit, a column a parameter
    asked: int  # draws
    failed: int  # that did not converge
    spread: float  # size of the errors as the data have it, of log y [1]; nan for pairs
    law: Fit = field(repr=False)
    theta_SK: Array = field(repr=False)

    def intervals(self, confidence: float = 0.95) -> dict[str, tuple[float, float]]:
        """Percentile interval of every parameter that was fitted."""
        shares = [(1 - confidence) / 2, (1 + confidence) / 2]
        ends = self.parameters.quantile(shares)
        return {str(name): (float(low), float(high)) for name, (low, high) in ends.items()}

    def band(self, *x: ArrayLike, confidence: float = 0.95) -> tuple[Array, Array]:
        """Percentile interval of the law at each x (m,), low and high; of two variables at x1, x2."""
        problem = self.law.problem
        z_VM = np.log(np.array([np.atleast_1d(values) for values in x], float)) - problem.pivot_V[:, None]
        f_SM = problem.shape.value(self.theta_SK.T[:, :, None], z_VM[:, None, :]) * problem.scale
        low, high = np.quantile(f_SM, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
        return low, high


def bootstrap(law: Fit, kind: str = "parametric", draws: int = 4000, seed: int = 0) -> Bootstrap:
    """Refit a law to `draws` sets of data that might have been, with its own objective (Huber's or squares).
    Deterministic by seed. Raises ValueError where the data do not allow the kind, with the numbers."""
    if draws < 1:
        raise ValueError(f"{draws} draws; 1 or more are needed")
    make = {"parametric": _parametric, "seeds": _seeds, "pairs": _pairs}.get(kind)
    if make is None:
        raise ValueError(f"unknown kind {kind!r}; there is: {', '.join(KINDS)}")
    if law.space != "log":
        raise ValueError(f"the law was fitted in {law.space} space; a bootstrap needs errors of log y (space='log')")
    rng = np.random.default_rng(seed)
    z_SVN, y_SN, spread = make(law, draws, rng)
    theta_SK, converged_S = refit(law, z_SVN, y_SN)
    problem = law.problem
    kept_SK = theta_SK[converged_S]
    natural = np.array([problem.natural(theta_K) for theta_K in kept_SK]).reshape(-1, len(problem.shape.names))
    table = pd.DataFrame(natural, columns=list(problem.shape.names)).drop(columns=list(law.given))
    return Bootstrap(kind, table, draws, int(np.sum(~converged_S)), spread, law, kept_SK)


def refit(law: Fit, z_SVN: Array, y_SN: Array) -> tuple[Array, NDArray[np.bool_]]:
    """theta (S, K) of the law's form for other data, and whether each converged.
    z_SVN: log x less the law's pivot, S or 1 along its first axis.  y_SN: above 0.
    Each descends from the law itself and from where its floor is lowest; the deeper valley counts."""
    problem, S = law.problem, len(y_SN)
    z_SVN, y_SN = np.broadcast_to(z_SVN, (S, *z_SVN.shape[1:])), y_SN / problem.scale
    free_SK = np.tile(problem.free_K, (S, 1))

    def residual(theta_RK: Array, which_R: Index) -> tuple[Array, Array]:
        values = with_slopes(problem.shape.value, theta_RK, z_SVN[which_R])
        return problem.residual_of(*values, y_SN[which_R])

    def deeper(starts: list[Array], delta: float) -> tuple[Array, NDArray[np.bool_]]:
        valleys = [descend(residual, start_SK, problem.bounds_2K, free_SK, delta, steps=1500) for start_SK in starts]
        best_S = np.argmin([valley.cost_S for valley in valleys], axis=0)
        theta_SK = np.choose(best_S[:, None], [valley.theta_SK for valley in valleys])
        return theta_SK, np.choose(best_S, [valley.converged_S for valley in valleys]).astype(bool)

    begin = [np.tile(law.theta_K, (S, 1))]
    for floor in ("L_inf", "E"):
        if floor in problem.shape.names and problem.free_K[k := problem.shape.names.index(floor)]:
            lowest_SK = begin[0].copy()
            lowest_SK[:, k] = problem.bounds_2K[0, k]
            begin.append(lowest_SK)
    theta_SK, converged_S = deeper(begin, math.inf)
    if law.objective == "huber":
        theta_SK, converged_S = deeper([theta_SK, np.tile(law.theta_K, (S, 1))], problem.delta)
    return theta_SK, converged_S


Draw = tuple[Array, Array, float]  # z_SVN, y_SN, size of the errors


def _around(law: Fit, draws: int, rng: np.random.Generator, spread: float, sizes: Callable[[], Array]) -> Draw:
    """The law times normal errors. sizes: draws them, one a draw (S, 1) or one for each of its data (S, N)."""
    problem = law.problem
    z_1VN = (problem.z_VN - problem.pivot_V[:, None])[None]
    centre_N = problem.law(law.theta_K, problem.z_VN)
    normal_SN = rng.standard_normal((draws, law.n))
    return z_1VN, centre_N * np.exp(np.clip(normal_SN * sizes(), -FARTHEST, FARTHEST)), spread


def _parametric(law: Fit, draws: int, rng: np.random.Generator) -> Draw:
    if law.problem.df <= 0:
        raise ValueError(
            f"{law.n} points, {law.k} parameters: residuals have no size, and there is nothing to draw from"
        )
    spread, df = math.sqrt(float(np.sum(law.residuals**2)) / law.problem.df), law.problem.df
    return _around(law, draws, rng, spread, lambda: spread * np.sqrt(df / rng.chisquare(df, (draws, 1))))


def _seeds(law: Fit, draws: int, rng: np.random.Generator) -> Draw:
    spread, df = seed_error(law)
    if not df:
        raise ValueError(f"{law.n} points at {law.n} different x: no two seeds of one x to tell their noise from")
    place_N = _places(law)
    count_P = np.bincount(place_N)
    if count_P.min() < FEWEST_SEEDS:
        return _around(law, draws, rng, spread, lambda: spread * np.sqrt(df / rng.chisquare(df, (draws, 1))))
    off_N = np.log(law.y) - (np.bincount(place_N, np.log(law.y)) / count_P)[place_N]
    squares_P = np.bincount(place_N, off_N**2)
    return _around(
        law,
        draws,
        rng,
        spread,
        lambda: np.sqrt(squares_P / rng.chisquare(count_P - 1, (draws, len(count_P))))[:, place_N],
    )


def seed_error(law: Fit) -> tuple[float, int]:
    """The standard deviation of log y among points of one x (seeds), pooled, and its degrees of freedom; nan, 0 where
    no two points share an x."""
    frame = pd.DataFrame({"place": _places(law), "log": np.log(law.y)})
    off = frame["log"] - frame.groupby("place")["log"].transform("mean")
    df = len(frame) - frame["place"].nunique()
    return (math.sqrt(float((off**2).sum()) / df), df) if df else (math.nan, 0)


def _places(law: Fit) -> Index:
    """The number (N,) of each point's x among the different ones."""
    return np.ravel(np.unique(law.problem.z_VN, axis=1, return_inverse=True)[1])


def uneven_seeds(law: Fit) -> tuple[float, float, float] | None:
    """Whether seeds lie further apart at some x than at others: the least and the greatest standard deviation of log y
    among points of one x, and the probability of such differences by chance (Bartlett 1937, Proc. R. Soc. A 160). None
    where not every x has FEWEST_SEEDS points."""
    place_N = _places(law)
    count_P = np.bincount(place_N)
    if count_P.min() < FEWEST_SEEDS or len(count_P) < 2:
        return None
    log_N, df_P = np.log(law.y), count_P - 1
    mean_P = np.bincount(place_N, log_N) / count_P
    variance_P = np.maximum(np.bincount(place_N, (log_N - mean_P[place_N]) ** 2) / df_P, 1e-300)
    df, places = df_P.sum(), len(df_P)
    against = df * math.log(np.sum(df_P * variance_P) / df) - float(np.sum(df_P * np.log(variance_P)))
    against /= 1 + (float(np.sum(1 / df_P)) - 1 / df) / (3 * (places - 1))
    return math.sqrt(variance_P.min()), math.sqrt(variance_P.max()), float(chdtrc(places - 1, max(against, 0.0)))


def _pairs(law: Fit, draws: int, rng: np.random.Generator) -> Draw:
    if law.n < FEWEST_PAIRS:
        raise ValueError(
            f"{law.n} points are too few to draw pairs from, {FEWEST_PAIRS} are needed: most draws would hold one "
            "point twice and too few different x for a law; kind='parametric' or 'seeds' keeps every x"
        )
    problem = law.problem
    fewest = int(problem.free_K.sum())
    z_VN = problem.z_VN - problem.pivot_V[:, None]
    chosen_SN = _redrawn(lambda many: rng.integers(law.n, size=(many, law.n)), z_VN, draws, fewest)
    return z_VN[:, chosen_SN].swapaxes(0, 1), law.y[chosen_SN], math.nan


def _redrawn(draw: Callable[[int], Index], z_VN: Array, draws: int, fewest: int) -> Index:
    """Draws of points, those with fewer different x than the law needs drawn again."""
    place_N = np.ravel(np.unique(z_VN, axis=1, return_inverse=True)[1])
    chosen_SN = draw(draws)
    while True:
        places_SN = np.sort(place_N[chosen_SN], axis=1)
        poor_S = 1 + np.count_nonzero(np.diff(places_SN, axis=1), axis=1) < fewest
        if not poor_S.any():
            return chosen_SN
        chosen_SN[poor_S] = draw(int(poor_S.sum()))
