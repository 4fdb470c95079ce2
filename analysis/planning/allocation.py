"""Allocation: the model, patch and image size with the lowest predicted error for a budget, by a law and computed
costs.

A configuration is a model at a patch size on an image size; its cost is that of training. The law is a surface
L(N, p, I) of analysis/fitting/laws.py, fitted by least squares of log error to Adventurer's rows of the paper's Tables
1 and 4, with a floor in the model's term where AICc prefers it. analysis/planning/measured_pareto.py is independent of
the law, and analysis/planning/surface_selection.py validates it.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from analysis.fitting.laws import Fit, fit3
from analysis.fitting.minimizer import Array
from analysis.planning.pareto import frontier as undominated
from analysis.records.published import IMAGENET_CLASSES, backbone_of, model_sizes, top1_cells
from scaling import costs
from scaling.errors import ConfigError

FAMILY = "Adventurer"
EPOCHS = 300  # of ImageNet-1k, Table 8 of arXiv 2502.03738
IMAGES, PATCHES = (64, 128, 224), (16, 8, 4, 2, 1)  # of the configurations [px]
AT = ("parameters", "patch", "image")  # the law's three variables
CANDIDATES = ("surface", "floored")  # forms, of which AICc selects one


@dataclass(frozen=True, eq=False)
class Surface:
    """A law of model, patch and image size, and the points that it is fitted to."""

    law: Fit
    points: pd.DataFrame  # model, parameters [1], patch [px], image [px], y
    measure: str
    unit: str
    source: str
    spread: float  # rms held-out error of log y over rows (a model at an image size) [1]
    weighed: tuple[str, ...] = CANDIDATES  # forms, of which AICc selected the law's

    def interval(self, *x: ArrayLike) -> tuple[Array, Array]:
        """95 % prediction interval of one more measurement at each place, low and high: the interval of the law and the
        held-out error of rows combined."""
        log = np.log(self.law.predict(*x))
        rows = self.points.groupby(["model", "image"]).ngroups
        reach = float(stdtrit(rows - 1, (1 + self.law.confidence) / 2)) * self.spread
        low, high = (np.log(end) for end in self.law.band(*x))
        return np.exp(log - np.hypot(log - low, reach)), np.exp(log + np.hypot(high - log, reach))


def published_points() -> pd.DataFrame:
    """Adventurer's 40 numbers in Tables 1 and 4: model, parameters [1] as Table 7 prints them, patch, image [px], y,
    the top-1 error [%]."""
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
    )
    return points.reset_index(drop=True)


def law_of(points: pd.DataFrame, form: str) -> Fit:
    N, p, I = (points[name] for name in AT)  # noqa: E741
    return fit3(N, p, I, points["y"], form, loss="squares")


def row_misses(points: pd.DataFrame, form: str) -> pd.DataFrame:
    """Held-out errors of every row: points with predicted, and miss: log of predicted over y."""
    found = points.assign(predicted=np.nan)
    for _, its in points.groupby(["model", "image"], sort=False):
        law = law_of(points.drop(its.index), form)
        found.loc[its.index, "predicted"] = law.predict(*(its[name] for name in AT))
    return found.assign(miss=np.log(found["predicted"] / found["y"]))


@cache
def published_surface() -> Surface:
    """The surface of published_points; of CANDIDATES the form with the lowest AICc."""
    points = published_points()
    law = min((law_of(points, form) for form in CANDIDATES), key=lambda law: law.aicc)
    spread = float(np.sqrt(np.mean(row_misses(points, law.form)["miss"] ** 2)))
    return Surface(law, points, "top-1 error", "%", "Tables 1 and 4 of arXiv 2502.03738", spread)


def plain_training(model: str, image: int, patch: int) -> float:
    """FLOPs of EPOCHS epochs of ImageNet-1k at one image size: three forward passes per image."""
    return 3.0 * costs.flops(backbone_of(model), image, patch, IMAGENET_CLASSES) * costs.IMAGENET_IMAGES * EPOCHS


def configurations(
    surface: Surface,
    training: Callable[[str, int, int], float] = plain_training,
    images: Sequence[int] = IMAGES,
    patches: Sequence[int] = PATCHES,
) -> pd.DataFrame:
    """Every model of the family at every patch size that divides the image, a row each.

    training: FLOPs of training a model (its name in Table 7) on images [px] at a patch size [px].
    Columns: model, parameters [1], patch, image [px], tokens, training_flops [FLOPs]; predicted, low, high (95 %
    interval of a measurement there) in the unit of the law; beyond: in which variables it extrapolates, or ""."""
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
    at = [frame[name] for name in AT]
    frame["predicted"] = surface.law.predict(*at)
    frame["low"], frame["high"] = surface.interval(*at)
    frame["beyond"] = [extrapolated(surface.points, row) for row in frame[list(AT)].to_dict("records")]
    return frame


def best(configured: pd.DataFrame, budgets: Sequence[float], cost: str = "training_flops") -> pd.DataFrame:
    """The configuration with the lowest predicted error for each budget, a row per budget, with column budget.

    configured: of configurations.  cost: the column to which budgets apply.  Raises ConfigError for a budget below the
    cheapest configuration."""
    cheapest = configured.sort_values(cost).iloc[0]
    rows = []
    for budget in budgets:
        can = configured[configured[cost] <= budget]
        if can.empty:
            what = f"{cheapest['model']} at patch {cheapest['patch']:g} on {cheapest['image']:g} px"
            raise ConfigError(
                f"a budget of {budget:.3g} is below the smallest configuration: {what} takes {cheapest[cost]:.3g}"
            )
        rows.append({"budget": float(budget), **can.sort_values("predicted").iloc[0].to_dict()})
    return pd.DataFrame(rows)


def frontier(configured: pd.DataFrame, cost: str = "training_flops") -> pd.DataFrame:
    """The configurations on the Pareto frontier of cost and predicted error, cheapest first."""
    steps = undominated(configured.assign(loss=configured["predicted"]), cost, "loss")
    return steps.drop(columns="loss").reset_index(drop=True)


def by_patch(configured: pd.DataFrame, budget: float, cost: str = "training_flops") -> pd.DataFrame:
    """The configuration with the lowest predicted error for one budget at each patch size: rows of configured,
    ascending by patch. Patch sizes without an affordable model are omitted. The best of them is `best` of the
    budget."""
    can = configured[configured[cost] <= budget].sort_values("predicted", kind="stable")
    return can.drop_duplicates("patch").sort_values("patch", ignore_index=True)


def extrapolated(points: pd.DataFrame, at: Mapping[Hashable, float]) -> str:
    """The variables in which a configuration is outside the range of the law's points; "pair" where model and image
    size were never measured together."""
    names = {"parameters": "model", "patch": "patch", "image": "image"}
    outside = [called for name, called in names.items() if not points[name].min() <= at[name] <= points[name].max()]
    met = ((points["parameters"] == at["parameters"]) & (points["image"] == at["image"])).any()
    return ", ".join(outside) or ("" if met else "pair")
