"""isoFLOP curves and directions: grow the model, train longer or shrink the patch, by a law L(N, p, D).

A configuration is a model at a patch size, both as in some run. At a budget of training FLOPs it sees
D = budget / (3 FLOPs per image) images. Source of the curves: arXiv 2203.15556, section 3.2, with a patch in the place
of a model. Letters: S draws, M configurations, P patch sizes.
"""

from itertools import combinations

import numpy as np
import pandas as pd

from analysis.fitting.minimizer import Array
from analysis.fitting.model_patch_images import AT, SizeLaw
from scaling.costs.run_flops import STEP_PASSES

BUDGETS = 4
BEYOND = 2.0  # factor by which D may be outside the runs' range
ENDS = (0.025, 0.975)
GROW, LONGER, SHRINK = "grow the model", "train longer", "shrink the patch"
CHANGED = {GROW: "parameters", LONGER: "images", SHRINK: "patch"}


def budgets_of(points: pd.DataFrame) -> Array:
    """Budgets [FLOPs] between the cheapest and the dearest run, evenly in log."""
    costs = points["training_flops"]
    return np.geomspace(costs.min(), costs.max(), BUDGETS + 2)[1:-1]


def isoflop(found: SizeLaw) -> pd.DataFrame:
    """A row per budget [FLOPs] and patch size [px] that some model can be trained with: model (of the lowest predicted
    loss), parameters, images, predicted, low and high (95 % interval of the law) [nats], share (of the draws in which
    this patch size is the best of the budget [1]). Budgets with one such patch size are left out."""
    configurations = found.points.drop_duplicates(["model", "patch"])
    ends = found.points["images"].min() / BEYOND, found.points["images"].max() * BEYOND
    tables = []
    for budget in budgets_of(found.points):
        can = configurations.assign(budget=budget, images=budget / STEP_PASSES / configurations["flops_per_image"])
        can = can[can["images"].between(*ends)].sort_values("patch", ignore_index=True)
        if can["patch"].nunique() < 2:
            continue
        loss_SM = found.predict_draws(can)
        can["predicted"] = found.predict(can)
        can["low"], can["high"] = np.quantile(loss_SM, ENDS, axis=0)
        won = can["patch"].to_numpy()[loss_SM.argmin(axis=1)]
        best = can.loc[can.groupby("patch")["predicted"].idxmin()]
        tables.append(best.assign(share=[float(np.mean(won == p)) for p in best["patch"]]))
    columns = ["budget", "patch", "model", "parameters", "images", "predicted", "low", "high", "share"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def best_patches(table: pd.DataFrame) -> pd.DataFrame:
    """The row of the best patch size of each budget of isoflop, with finest and coarsest [px], the 95 % interval of the
    best patch size over draws, and edge: whether it is the finest or coarsest that was compared."""
    rows = []
    for _, its in table.groupby("budget"):
        its = its.sort_values("patch")
        below = its["share"].cumsum().to_numpy()
        finest, coarsest = (its["patch"].to_numpy()[np.searchsorted(below, end)] for end in ENDS)
        best = its.loc[its["predicted"].idxmin()]
        edge = best["patch"] in (its["patch"].min(), its["patch"].max())
        rows.append({**best.to_dict(), "finest": finest, "coarsest": coarsest, "edge": edge})
    return pd.DataFrame(rows)


def place_of(points: pd.DataFrame) -> pd.Series:
    """The configuration and length with the lowest mean loss: the run from which directions are taken."""
    means = points.groupby(["model", *AT, "flops_per_image"], as_index=False)["y"].mean()
    return means.loc[means["y"].idxmin()]


def directions(found: SizeLaw, place: pd.Series) -> pd.DataFrame:
    """A row per direction: change of the loss [nats] by a doubling of the FLOPs from place, low and high (95 %), factor
    (of parameters, images or patch side), and beyond (whether that is outside the range of the runs). FLOPs per image
    change with size and patch as between place and the next larger model and smaller patch that were run (of the
    largest and smallest: the one before). Directions without a neighbour, and sizes in a law of one model, are left
    out. draws: an array (S,) of the change by refits."""
    points = found.points
    powers = {
        GROW: _power(points[points["patch"] == place["patch"]], "parameters", place, upwards=True),
        LONGER: 1.0,
        SHRINK: _power(points[points["model"] == place["model"]], "patch", place, upwards=False),
    }
    factors = {name: 2 ** (1 / power) for name, power in powers.items() if power and CHANGED[name] in found.variables}
    at = pd.DataFrame([place[list(AT)]] * (len(factors) + 1), dtype=float, index=["", *factors])
    for name, factor in factors.items():
        at.loc[name, CHANGED[name]] *= factor
    loss, loss_SM = found.predict(at), found.predict_draws(at)
    change_S = loss_SM[:, 1:] - loss_SM[:, :1]
    low, high = np.quantile(change_S, ENDS, axis=0)
    table = pd.DataFrame({"direction": list(factors), "change": loss[1:] - loss[0], "low": low, "high": high})
    table["factor"] = list(factors.values())
    table["beyond"] = [
        not points[column].min() <= at.loc[name, column] <= points[column].max()
        for name, column in CHANGED.items()
        if name in factors
    ]
    table["draws"] = list(change_S.T)
    return table


def verdict(table: pd.DataFrame) -> str:
    """Which direction lowers the loss most, in words; undecided where the interval of its difference from another, or
    its own, includes 0."""
    change_S, names = np.stack(list(table["draws"]), axis=1), list(table["direction"])
    apart = {}
    for i, j in combinations(range(len(names)), 2):
        low, high = np.quantile(change_S[:, i] - change_S[:, j], ENDS)
        apart[i, j] = apart[j, i] = low > 0 or high < 0
    best = int(table["change"].argmin())
    rivals = [names[j] for j in range(len(names)) if j != best and not apart[best, j]]
    if rivals:
        return f"undecided: {' or '.join([names[best], *rivals])} (intervals of their differences include 0)"
    if table["high"].iloc[best] >= 0:
        return f"undecided: {names[best]} has the largest decrease, but its interval includes 0"
    return f"{names[best]} lowers the loss most"


def _power(points: pd.DataFrame, column: str, place: pd.Series, upwards: bool) -> float:
    """d log FLOPs per image / d log column between place and a neighbour; 0 without one or where FLOPs are equal."""
    flops = points.groupby(column)["flops_per_image"].first()
    here, flops_here = float(place[column]), float(place["flops_per_image"])
    above, below = flops[flops.index > here].iloc[:1], flops[flops.index < here].iloc[-1:]
    for neighbour in (above, below) if upwards else (below, above):
        if len(neighbour):
            return float(np.log(neighbour.iloc[0] / flops_here) / np.log(neighbour.index[0] / here))
    return 0.0
