"""Optimal: the model, patch and image that a budget buys the least error with, by a law and the arithmetic of costs.

A configuration is a model at a patch size on an image size; what it costs is training it. The law is the surface
L(N, p, I) of analysis/laws.py, fitted to Adventurer's rows of the paper's Tables 1 and 4.
Between the models of a family FLOPs are taken to follow a power of the parameters, for the curves of equal cost alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.frontier import frontier as undominated
from analysis.laws import Fit, fit3
from analysis.published_data import IMAGENET_CLASSES, backbone_of, model_sizes, top1_cells
from scaling import costs
from scaling.recipe import BadInput

FAMILY = "Adventurer"
EPOCHS = 300  # of ImageNet-1k, Table 8 of arXiv 2502.03738
IMAGES, PATCHES = (64, 128, 224), (16, 8, 4, 2, 1)  # that configurations are made of [px]


@dataclass(frozen=True)
class Surface:
    """A law of model, patch and image, and the points that it rests on."""

    law: Fit
    points: pd.DataFrame  # model, parameters [1], patch [px], image [px], y
    measure: str
    unit: str
    source: str


def published_surface() -> Surface:
    """That of Adventurer's 40 numbers in Tables 1 and 4: top-1 error [%]; N as Table 7 prints it."""
    cells = top1_cells()
    cells = cells[cells["model"].str.startswith(FAMILY)]
    points = pd.DataFrame(
        {
            "model": cells["model"],
            "parameters": cells["model"].map(model_sizes()),
            "patch": cells["patch"].astype(float),
            "image": cells["input_px"].astype(float),
            "y": 100 - cells["published"],
        }
    ).reset_index(drop=True)
    law = fit3(points["parameters"], points["patch"], points["image"], points["y"])
    return Surface(law, points, "top-1 error", "%", "Tables 1 and 4 of arXiv 2502.03738")


def plain_training(model: str, image: int, patch: int) -> float:
    """FLOPs of EPOCHS passes over ImageNet-1k at one image size: three forward passes an image."""
    return 3.0 * costs.flops(backbone_of(model), image, patch, IMAGENET_CLASSES) * costs.IMAGENET_IMAGES * EPOCHS


def configurations(
    surface: Surface,
    training: Callable[[str, int, int], float] = plain_training,
    images: Sequence[int] = IMAGES,
    patches: Sequence[int] = PATCHES,
) -> pd.DataFrame:
    """Every model of the family at every patch that divides the image, a row each.

    training: FLOPs of training a model (its name in Table 7) on images [px] at a patch size [px].
    Columns: model, parameters [1], patch, image [px], tokens, training_flops [FLOPs]; predicted, low, high (95 %
    interval of the law) in the unit of the law; beyond: what the law's points do not reach, "" where they do."""
    rows = [
        (model, parameters, float(patch), float(image), training(model, image, patch))
        for model, parameters in model_sizes().items()
        if model.startswith(FAMILY)
        for image in images
        for patch in patches
        if image % patch == 0 and patch < image
    ]
    frame = pd.DataFrame(rows, columns=["model", "parameters", "patch", "image", "training_flops"])
    frame["tokens"] = (frame["image"] / frame["patch"]) ** 2
    at = frame["parameters"], frame["patch"], frame["image"]
    frame["predicted"] = surface.law.predict(*at)
    frame["low"], frame["high"] = surface.law.band(*at)
    frame["beyond"] = [_beyond(surface.points, row) for row in frame.to_dict("records")]
    return frame


def best(configured: pd.DataFrame, budgets: Sequence[float], cost: str = "training_flops") -> pd.DataFrame:
    """The configuration of the least predicted error that each budget pays for, a row a budget, with column budget.

    configured: of configurations.  cost: its column that a budget is of.  Raises BadInput where a budget is below the
    cheapest configuration, with that one."""
    cheapest = configured.sort_values(cost).iloc[0]
    rows = []
    for budget in budgets:
        can = configured[configured[cost] <= budget]
        if can.empty:
            what = f"{cheapest['model']} at patch {cheapest['patch']:g} on {cheapest['image']:g} px"
            raise BadInput(
                f"a budget of {budget:.3g} is below the smallest configuration: {what} takes {cheapest[cost]:.3g}"
            )
        rows.append({"budget": float(budget), **can.sort_values("predicted").iloc[0].to_dict()})
    return pd.DataFrame(rows)


def frontier(configured: pd.DataFrame, cost: str = "training_flops") -> pd.DataFrame:
    """The configurations that no cheaper one is predicted to beat, cheapest first."""
    steps = undominated(configured.assign(loss=configured["predicted"]), cost, "loss")
    return steps.drop(columns="loss").reset_index(drop=True)


def equal_cost(surface: Surface, configured: pd.DataFrame, budget: float) -> pd.DataFrame:
    """What one budget [FLOPs] buys at each patch size: the model that it pays for at each image size, its parameters on
    the line between the family's models in log-log, and of these image sizes the one of the least predicted error.
    A row a patch for which the budget lies between the smallest and the largest model at some image size. Columns:
    patch, image [px], parameters [1], predicted."""
    rows = []
    for _, its in configured.sort_values("training_flops").groupby(["patch", "image"]):
        flops, parameters = np.log(its["training_flops"]), np.log(its["parameters"])
        if flops.iloc[0] <= np.log(budget) <= flops.iloc[-1]:
            size = float(np.exp(np.interp(np.log(budget), flops, parameters)))
            at = its["patch"].iloc[0], its["image"].iloc[0]
            rows.append((*at, size, float(surface.law.predict(size, *at)[0])))
    frame = pd.DataFrame(rows, columns=["patch", "image", "parameters", "predicted"])
    return frame.sort_values("predicted").drop_duplicates("patch").sort_values("patch", ignore_index=True)


def _beyond(points: pd.DataFrame, row: dict[Any, Any]) -> str:
    """What of a configuration the law's points do not reach; "pair" where model and image were never measured
    together."""
    names = {"parameters": "model", "patch": "patch", "image": "image"}
    outside = [called for name, called in names.items() if not points[name].min() <= row[name] <= points[name].max()]
    met = ((points["parameters"] == row["parameters"]) & (points["image"] == row["image"])).any()
    return ", ".join(outside) or ("" if met else "pair")
