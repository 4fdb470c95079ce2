"""A backbone from any module that turns images into one map: a network of your own, or a model of timm with feature
maps, such as a ResNet or a ConvNeXt (--backbone timm_maps:NAME).

A cell of the map is a token, and the stride of the map is the patch size. Sizes of a timm model are known to timm
alone, so there is no cost model for them. B batch, D width, h w cells of the map.
"""

from collections.abc import Sequence
from typing import cast

import timm
import torch
from timm.models import FeatureInfo
from torch import Tensor, nn

from scaling.backbones.base import Backbone, Features, TokenLayout
from scaling.backbones.init import initialise_by_name
from scaling.backbones.patch_embed import check_image
from scaling.errors import ConfigError, first_line
from scaling.packing.packed_images import PackedImages


class FeatureMapBackbone(Backbone):
    """net: from normalised images (B, 3, H, W) to a map (B, width, H / stride, W / stride), or to a list of one map.

    Pooled features are the mean of the map. It counts as one block, so a head that reads several blocks reads this map.
    """

    def __init__(self, net: nn.Module, width: int, stride: int) -> None:
        super().__init__(width, stride, depth=1)
        self.net = net

    def forward(
        self, image_BCHW: Tensor | PackedImages, blocks: Sequence[int] = (), patch_size: int | None = None
    ) -> Features:
        if isinstance(image_BCHW, PackedImages):
            raise ConfigError("a backbone of feature maps takes images of one size: --packing none")
        if patch_size not in (None, self.stride):
            raise ConfigError(f"patch {patch_size} differs from {self.stride}, the only patch size of this backbone")
        grid = check_image(image_BCHW, self.stride)
        found = self.net(image_BCHW)
        map_BDhw = found if isinstance(found, Tensor) else found[-1]
        expected = (image_BCHW.shape[0], self.width, *grid)
        if tuple(map_BDhw.shape) != expected:
            made = f"made a map {tuple(map_BDhw.shape)} from images {tuple(image_BCHW.shape)}"
            raise ConfigError(f"{type(self.net).__name__} {made}; width and stride of this backbone ask for {expected}")
        tokens_BLD = map_BDhw.flatten(2).transpose(1, 2)
        layout = TokenLayout(self.stride, image_BCHW.device, grid)
        return Features(tokens_BLD, tokens_BLD.mean(1), layout, (tokens_BLD,) * len(blocks))

    def initialise(self, seed: int) -> None:
        """As each module of torch draws its own weights (reset_parameters), from the seed and the module's name. Other
        parameters stay as the constructor of their module drew them."""
        initialise_by_name(self.net, seed, _reset)

    @property
    def checkpoint_module(self) -> nn.Module:
        return self.net


def _reset(module: nn.Module, name: str) -> None:
    reset = getattr(module, "reset_parameters", None)
    if reset is not None:
        reset()


def timm_maps(name: str, patch: int) -> FeatureMapBackbone:
    """timm's model NAME up to its map of stride `patch` [px], from scratch. Raises ConfigError where timm has no such
    model, or the model no such map."""
    if not timm.is_model(name):
        near = timm.list_models(f"{name.split('_')[0].rstrip('0123456789')}*")[:5]
        raise ConfigError(f"timm has no model {name!r}; similar names: {', '.join(near) or 'none'}")
    try:
        with torch.device("meta"):
            strides = _maps_of(timm.create_model(name, features_only=True)).reduction()
        if patch not in strides:
            there = ", ".join(map(str, strides))
            raise ConfigError(f"timm's {name} has maps of strides {there} px: --patch-size {patch} is none of them")
        net = timm.create_model(name, features_only=True, out_indices=(strides.index(patch),))
    except (RuntimeError, ValueError, TypeError, AssertionError, AttributeError) as e:
        if isinstance(e, ConfigError):
            raise
        raise ConfigError(f"timm's {name} has no feature maps ({first_line(e)})") from e
    return FeatureMapBackbone(net, _maps_of(net).channels()[-1], patch)


def _maps_of(net: nn.Module) -> FeatureInfo:
    return cast(FeatureInfo, net.feature_info)
