"""Measured Pareto frontier, without a law: Adventurer's numbers in Tables 1 and 4 of arXiv 2502.03738 and their
training FLOPs; and the gain of the next step from each, smaller patches or a larger model."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd

from analysis.planning.allocation import published_points
from analysis.planning.pareto import frontier as undominated

COARSEST = 16  # patch size of the step to a larger model [px]


def measured(training: Callable[[str, int, int], float]) -> pd.DataFrame:
    """Every number, cheapest first: model, parameters [1], patch, image [px], y (top-1 error [%]), training_flops, and
    frontier: whether it is on the Pareto frontier.  training: FLOPs of a model (its name in Table 7), image and patch
    [px]."""
    points = published_points()
    cells = points[["model", "image", "patch"]].itertuples(index=False)
    points["training_flops"] = [training(str(model), int(image), int(patch)) for model, image, patch in cells]
    kept = undominated(points.assign(loss=points["y"]), "training_flops", "loss").index
    points["frontier"] = points.index.isin(kept)
    return points.sort_values("training_flops", ignore_index=True)


def steps(points: pd.DataFrame) -> pd.DataFrame:
    """For every model at patch 16 with a larger one measured at its image size: the reduction of the error [points] per
    e-fold of FLOPs by patches of 8 px, and by the next model at patch 16.  points: of `measured`.
    Columns: image [px], model, larger, by_patch, by_model [points per e-fold]."""
    rows = []
    for image, its in points.groupby("image"):
        cells = its.set_index(["model", "patch"])[["y", "training_flops"]]
        models = list(its[its["patch"] == COARSEST].sort_values("parameters")["model"])
        for model, larger in pairwise(models):
            here = cells.loc[(model, COARSEST)]
            gains = [_gain(here, cells.loc[there]) for there in ((model, COARSEST / 2), (larger, COARSEST))]
            rows.append((image, model, larger, *gains))
    return pd.DataFrame(rows, columns=["image", "model", "larger", "by_patch", "by_model"])


def _gain(before: pd.Series, after: pd.Series) -> float:
    return float((before["y"] - after["y"]) / np.log(after["training_flops"] / before["training_flops"]))
