"""Frontier draws: how often a configuration (backbone and patch size) has the lowest loss that its cost allows, over
draws of the laws of all backbones.

A measured Pareto frontier follows the noise of single runs: of two equally good configurations it picks one. Here each
backbone's law over patch size is refitted to resampled data (parametric bootstrap, analysis/fitting/bootstrap.py), and
in every draw the configuration of the lowest predicted loss at each budget is noted. Its share of the draws is how
certain the pick is, as far as the laws are right: what a law misses at all draws is in no share.
Letters: S draws, M configurations.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.fitting.bootstrap import bootstrap
from analysis.fitting.laws import Fit
from analysis.fitting.minimizer import Array
from analysis.planning.pareto import frontier

DRAWS = 1000


class CostedLaw(NamedTuple):
    """A law of loss over patch size, and what its runs cost."""

    name: str
    law: Fit
    points: pd.DataFrame  # a row per run: patch [px], y, and columns of costs


def drawn_losses(laws: Sequence[CostedLaw], draws: int = DRAWS) -> list[Array]:
    """For each law its losses (S, patch sizes in ascending order) in draws, independent between laws, deterministic.
    Raises ValueError where a law has no degrees of freedom to draw from."""
    return [
        bootstrap(of.law, draws=draws, seed=number).predict(np.unique(of.points["patch"]))
        for number, of in enumerate(laws)
    ]


def frontier_shares(laws: Sequence[CostedLaw], cost: str, predicted: Sequence[Array]) -> pd.DataFrame:
    """A row per configuration, from cheap to expensive, each taken as a budget: budget (mean cost over seeds), name,
    patch [px], y (mean over seeds), on_frontier (of the measured means), share (of the draws in which it has the lowest
    loss of all that cost as much or less), rival (the most frequent other winner of this budget, a name and a patch
    size) and rival_share.

    laws: of one task and data set.  cost: a column of points, above 0.  predicted: of drawn_losses; the same for every
    cost."""
    rows = [of.points.groupby("patch", as_index=False)[["y", cost]].mean().assign(name=of.name) for of in laws]
    table = pd.concat(rows, ignore_index=True).rename(columns={cost: "budget"})
    fewest = min(map(len, predicted))  # refits that did not converge are no draws
    loss_SM = np.concatenate([its[:fewest] for its in predicted], axis=1)
    table["on_frontier"] = table.index.isin(frontier(table.rename(columns={"y": "loss"}), "budget", "loss").index)
    shares = pd.DataFrame([_share(loss_SM, table, at) for at in range(len(table))])
    columns = ["budget", "name", "patch", "y", "on_frontier", "share", "rival", "rival_share"]
    return pd.concat([table, shares], axis=1)[columns].sort_values("budget", ignore_index=True)


def _share(loss_SM: Array, table: pd.DataFrame, at: int) -> dict[str, object]:
    """The share of draws in which configuration `at` is the best that its cost allows, and the best other one."""
    can = np.flatnonzero(table["budget"] <= table["budget"].iloc[at])
    won_M = np.bincount(can[np.argmin(loss_SM[:, can], axis=1)], minlength=len(table)) / len(loss_SM)
    share, won_M[at] = float(won_M[at]), 0.0
    rival = int(np.argmax(won_M))
    if not won_M[rival]:
        return {"share": share, "rival": "", "rival_share": 0.0}
    text = f"{table['name'].iloc[rival]} p{table['patch'].iloc[rival]:g}"
    return {"share": share, "rival": text, "rival_share": float(won_M[rival])}
