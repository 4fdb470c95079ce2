"""Hold-outs of L(p, D): the smallest patch size, or the longest third of the images seen, left out and predicted by the
law of the other points and by the naive rules of model_selection.py.

The naive rules go along one axis: of a smaller patch at the same number of images seen, of more images at the same
patch size. Errors are relative to the mean over the seeds of each pair of patch size and images seen."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.fitting.laws import fit2
from analysis.fitting.minimizer import Array
from analysis.fitting.model_selection import baselines

LONGEST = 1 / 3  # of the distinct numbers of images seen, left out [1]
FEWEST = 2  # values along the axis, which the naive rules need


class HeldOutPoints(NamedTuple):
    """Mean absolute relative errors of predictions of points that were left out [1]."""

    what: str  # was left out
    n: int  # pairs of patch size and images seen
    law: float
    last: float  # naive: the last value
    half: float  # naive: that and half of the last gain


def hold_out_patch(points: pd.DataFrame) -> HeldOutPoints:
    """The smallest patch size, predicted from the others. points: patch [px], images, y [nats].  Raises ValueError
    where the others allow no law or no naive rule."""
    smallest = points["patch"].min()
    out = points["patch"] == smallest
    return _held_out(points, out, f"patch {smallest:g}", along="patch", end="smallest")


def hold_out_images(points: pd.DataFrame) -> HeldOutPoints:
    """The longest third of the distinct numbers of images seen, predicted from the shorter ones. points, errors: as of
    hold_out_patch."""
    images = np.sort(points["images"].unique())
    if len(images) <= FEWEST:
        raise ValueError(f"{len(images)} numbers of images seen; {FEWEST + 1} are needed")
    most = images[-1 - max(1, round(LONGEST * len(images)))]
    return _held_out(points, points["images"] > most, f"more than {most:,.0f} images", along="images", end="largest")


def _held_out(points: pd.DataFrame, out: pd.Series, what: str, along: str, end: str) -> HeldOutPoints:
    across = "images" if along == "patch" else "patch"
    kept = points[~out]
    law = fit2(kept["images"], kept["patch"], kept["y"], "joint")
    errors: list[Array] = []
    for (fixed, at), its in points[out].groupby([across, along]):
        others = kept[kept[across] == fixed]
        if others[along].nunique() < FEWEST:
            continue
        pair = {across: fixed, along: at}
        predicted = [float(law.predict([pair["images"]], [pair["patch"]])[0])]
        predicted += baselines(others[along].to_numpy(float), others["y"].to_numpy(float), end)
        errors.append(np.array(predicted) / np.exp(np.log(its["y"]).mean()) - 1)
    if not errors:
        raise ValueError(f"{what}: no {across} with {FEWEST} other {along}, which the naive rules need")
    return HeldOutPoints(what, len(errors), *map(float, np.abs(errors).mean(axis=0)))
