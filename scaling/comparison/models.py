"""Models that are compared: backbones of finished runs and of timm, each at one patch size or at several."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from scaling.backbones.activations import Point, activations
from scaling.backbones.base import Backbone
from scaling.backbones.registry import build_backbone
from scaling.config.edit import make_config
from scaling.config.experiment import ExperimentConfig
from scaling.config.model import TIMM
from scaling.config.patch_embeds import AdaptivePatchEmbed
from scaling.config.patch_size import check_patch
from scaling.data.batch import normalise
from scaling.errors import ConfigError
from scaling.inference import load_backbone

PATCH_WORD = 2
TOKENS = 16_384  # of a forward pass, which bounds its memory


@dataclass(frozen=True, eq=False)
class ComparedModel:
    """A backbone at a patch size."""

    source: str  # the run's ID, or timm:NAME
    patch: int  # [px]
    backbone: Backbone
    config: ExperimentConfig
    flexible: bool = False  # the patch size is an argument of a call, so that other models share these weights

    @property
    def words(self) -> tuple[str, ...]:
        """What distinguishes it from others; the patch size at index PATCH_WORD."""
        run_id = "" if self.source.startswith(TIMM) else self.source.rsplit("-", 1)[-1]
        name = self.config.model.backbone.removeprefix(TIMM)
        return ("flexible" if self.flexible else "", name, f"p{self.patch}", f"s{self.config.seed}", run_id)

    @property
    def img_size(self) -> int:
        """Side of an image [px]."""
        return self.config.model.img_size

    @property
    def grid(self) -> int:
        """Patches along a side of an image."""
        return self.img_size // self.patch

    def activations(self, image_BCHW: Tensor, cells: int, device: torch.device) -> dict[Point, Tensor]:
        """As of activations.py, on the CPU. image_BCHW: uint8, of any number."""
        backbone, parts = self.backbone.to(device), []
        for part_BCHW in image_BCHW.split(max(1, TOKENS // self.grid**2)):
            pixels_BCHW = normalise(part_BCHW.to(device), backbone.mean, backbone.std)
            found = activations(backbone, pixels_BCHW, cells, self.patch if self.flexible else None)
            parts.append({point: x_BX.cpu() for point, x_BX in found.items()})
        return {point: torch.cat([part[point] for part in parts]) for point in parts[0]}


def open_models(sources: Sequence[str], patches: Sequence[int]) -> list[ComparedModel]:
    """The models of run folders and timm:NAMEs. patches: sizes [px] at which flexible runs, timm's weights and a run
    that is given alone are compared, the latter two with resampled kernels and positions; of several runs with fixed
    patches each is compared at its own. Empty: all at their own. Flexible ones first, then the largest patch. Raises
    ConfigError."""
    names = [_name(source) for source in sources]
    if repeated := [name for n, name in enumerate(names) if name in names[:n]]:
        raise ConfigError(f"{repeated[0]} is given twice")
    models = []
    for source in sources:
        if source.startswith(TIMM):
            if not patches:
                raise ConfigError(f"{source} needs patch sizes: --patch 16, for instance")
            models += [_of_timm(source, patch) for patch in patches]
        else:
            models += _of_run(source, patches, alone=len(sources) == 1)
    return sorted(models, key=lambda model: (not model.flexible, -model.patch))


def _name(source: str) -> str:
    """The run's ID, which its folder has as its name, or timm:NAME."""
    return source if source.startswith(TIMM) else Path(source).resolve().name


def _of_timm(source: str, patch: int) -> ComparedModel:
    import timm

    name = source.removeprefix(TIMM)
    if not timm.is_model(name):
        raise ConfigError(f"timm has no model {name!r}")
    cfg = timm.get_pretrained_cfg(name)
    if cfg is None or not cfg.has_weights:
        raise ConfigError(f"timm has no weights of {name}")
    config = make_config(backbone=source, pretrained=name, img_size=cfg.input_size[-1], patch_size=patch)
    return ComparedModel(source, patch, build_backbone(config).eval(), config)


def _of_run(source: str, patches: Sequence[int], alone: bool) -> list[ComparedModel]:
    backbone, config = load_backbone(source)
    own, run = config.model.patch_size, _name(source)
    if isinstance(config.model.patch_embed, AdaptivePatchEmbed):
        raise ConfigError(f"{source} has patches of several sizes; models with one are compared, cell by cell")
    for patch in patches:
        check_patch(config.model.img_size, patch)
    others = [patch for patch in patches if patch != own]
    if others and takes_patches(backbone, others, config.model.img_size):
        return [ComparedModel(run, patch, backbone, config, flexible=True) for patch in patches]
    if patches and not alone and own not in patches:
        raise ConfigError(f"{source} has patch {own}, which --patch does not list")
    if not patches or not alone:
        return [ComparedModel(run, own, backbone, config)]
    return [ComparedModel(run, patch, *load_backbone(source, patch)) for patch in patches]


def takes_patches(backbone: Backbone, patches: Sequence[int], img_size: int) -> bool:
    """Whether the patch size of a call may be any of these [px]."""
    blank_1CHW = torch.zeros(1, 3, img_size, img_size)
    try:
        with torch.no_grad():
            for patch in patches:
                backbone(blank_1CHW, patch_size=patch)
    except ConfigError:
        return False
    return True
