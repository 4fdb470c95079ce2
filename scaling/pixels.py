"""What a backbone takes pixels for: their mean, their standard deviation, and the filter that images are scaled by.

Weights are worth what they are worth on pixels like those they were trained on. timm's say which those are; everything
else here was trained on ImageNet's. Which are a recipe's follows from the recipe alone, so that what makes views
(scaling/data) and what is made of them (backbones) agree without asking each other. No torch here; timm when asked.
"""

import functools
from pathlib import Path
from typing import Any, NamedTuple

from scaling.recipe import TIMM, Recipe
from scaling.runs.identity import recipe_in

# Of ImageNet's pixels, as every ImageNet recipe takes them; one pair for all data sets.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
FILTERS = ("bicubic", "bilinear")
HUB = "hf:timm/"  # hf:timm/NAME/FILE: the hub's copy of timm:NAME


class Pixels(NamedTuple):
    """Of pixels in [0, 1], by channel; and the filter, one of FILTERS, that whole images are scaled by for a view of
    classification. (Segmentation and detection scale by mmsegmentation's and detectron2's, whatever the weights.)"""

    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    interpolation: str = "bicubic"

    @property
    def grey(self) -> tuple[int, ...]:
        """The mean as a colour, in 255ths: about 0 once it is normalised."""
        return tuple(round(255 * m) for m in self.mean)


@functools.cache
def pixels_of(recipe: Recipe) -> Pixels:
    """Those of the weights that the recipe starts from, be it by way of other runs; else those of the backbone."""
    if (before := run_before(recipe)) is not None:
        return pixels_of(before)
    for source in (recipe.weights, recipe.backbone):
        if source.startswith(HUB):
            source = TIMM + source.removeprefix(HUB).split("/")[0]
        if source.startswith(TIMM) and (cfg := _timms(source.removeprefix(TIMM))) is not None:
            return of_config(cfg)
    return Pixels()


def of_config(cfg: Any) -> Pixels:
    """What timm says of a model's weights (its pretrained_cfg). A filter that is none of ours becomes bicubic."""
    found = cfg.interpolation if cfg.interpolation in FILTERS else "bicubic"
    return Pixels(tuple(map(float, cfg.mean)), tuple(map(float, cfg.std)), found)


def _timms(name: str) -> Any:
    """timm's pretrained_cfg of a model; None where it has none, which the loader of the model or weights will say."""
    from timm.models import get_pretrained_cfg

    try:
        return get_pretrained_cfg(name)
    except RuntimeError:  # no such tag
        return None


def run_before(recipe: Recipe) -> Recipe | None:
    """The recipe of the run whose weights this one starts from: as its start, or where `weights` is a run's folder."""
    if recipe.start:
        return recipe.predecessor
    return recipe_in(Path(recipe.weights)) if recipe.weights else None
