"""Preprocessing that weights were trained with: mean and standard deviation of pixels, and the interpolation filter.

timm knows it for its own weights, and JAX codes scale pixels to [-1, 1]; all others were trained with ImageNet's. It
follows from the recipe alone, so that data (scaling/data) and backbones agree without importing each other. No torch;
timm where a recipe names it.
"""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from scaling.config.experiment import ExperimentConfig
from scaling.config.initialization import FromTeacher
from scaling.config.model import TIMM
from scaling.runs.identity import config_in

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

# Of ImageNet's pixels, used for all data sets.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
FILTERS = ("bicubic", "bilinear")
HUB = "hf:timm/"  # hf:timm/NAME/FILE: the hub's copy of timm:NAME


class Preprocessing(NamedTuple):
    """mean, std: of pixels in [0, 1], by channel. interpolation: one of FILTERS, for resizing images in classification
    (segmentation and detection resize as mmsegmentation and detectron2 do, whatever the weights)."""

    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    interpolation: str = "bicubic"

    @property
    def grey(self) -> tuple[int, ...]:
        """The mean as a colour in 0 to 255: about 0 after normalisation."""
        return tuple(round(255 * m) for m in self.mean)


def preprocessing_of(config: ExperimentConfig) -> Preprocessing:
    """Preprocessing of the initial weights, possibly through other runs; otherwise of the backbone."""
    if (before := initial_run(config)) is not None:
        return preprocessing_of(before)
    return _of_sources(_source(config), config.model.backbone)


@functools.cache
def _of_sources(weights: str, backbone: str) -> Preprocessing:
    if weights.split("?")[0].endswith(".npz"):
        return Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # as big_vision and vision_transformer scale them
    for source in (weights, backbone):
        if source.startswith(HUB):
            source = TIMM + source.removeprefix(HUB).split("/")[0]
        if source.startswith(TIMM) and (cfg := _timm_config(source.removeprefix(TIMM))) is not None:
            return from_timm_config(cfg)
    return Preprocessing()


def from_timm_config(cfg: "PretrainedCfg") -> Preprocessing:
    """From timm's pretrained_cfg of a model's weights. A filter that is not in FILTERS becomes bicubic."""
    found = cfg.interpolation if cfg.interpolation in FILTERS else "bicubic"
    return Preprocessing(tuple(map(float, cfg.mean)), tuple(map(float, cfg.std)), found)


def _timm_config(name: str) -> "PretrainedCfg | None":
    """timm's pretrained_cfg of a model; None where there is none, which loading the model or weights reports."""
    from timm.models import get_pretrained_cfg

    try:
        return get_pretrained_cfg(name)
    except RuntimeError:  # no such tag
        return None


def initial_run(config: ExperimentConfig) -> ExperimentConfig | None:
    """The recipe of the run whose weights this one starts from: by `start`, or where `weights` is a run's folder."""
    if config.predecessor is not None:
        return config.predecessor
    return config_in(Path(source)) if (source := _source(config)) else None


def _source(config: ExperimentConfig) -> str:
    """Where the initial weights are, other than in a run before; empty where there are none."""
    if isinstance(config.init, FromTeacher) and config.distillation is not None:
        return config.distillation.teacher
    return config.init.source or ""
