"""Any plain ViT of timm as a backbone: --backbone timm:NAME, from scratch or with --weights.

The models are used as they are, with their own patch embeddings, position encodings, registers and norms. Their sizes
are known to timm alone, so there is no cost model for them.
B batch, D width, h w grid, T tokens.
"""

import sys
from collections.abc import Sequence
from functools import partial
from typing import cast

import timm
import torch
from timm.models.eva import EvaBlock
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from scaling.backbones.base import Backbone, Features, ResidualStream, TokenLayout
from scaling.backbones.init import initialise_by_name
from scaling.backbones.patch_embed import check_image
from scaling.errors import ConfigError, first_line
from scaling.packing.packed_images import PackedImages
from scaling.preprocessing import Preprocessing, from_timm_config


class TimmViT(Backbone):
    """timm's model NAME at an image and a patch size [px]; or `model`, one that is built already.

    Raises ConfigError where timm has no such model, or where its feature stride is not constant."""

    def __init__(self, name: str = "", image: int = 224, patch: int = 16, model: nn.Module | None = None) -> None:
        net = _create(name, image, patch) if model is None else model
        cfg = getattr(net, "pretrained_cfg", None)
        strides = {info["reduction"] for info in getattr(net, "feature_info", [])}
        embed = getattr(net, "patch_embed", None)
        if len(strides) != 1 or embed is None or not hasattr(net, "forward_intermediates"):
            raise ConfigError(
                f"timm's {name or type(net).__name__} is not a plain ViT: its feature stride must be constant; "
                "timm_maps:NAME takes models with feature maps"
            )
        patches = embed.patch_size
        sides = {patches} if isinstance(patches, int) else set(patches)
        if len(sides) != 1:
            raise ConfigError(f"timm's {name or type(net).__name__} has patches that are not square")
        vit = cast(VisionTransformer, net)
        super().__init__(vit.num_features, sides.pop(), len(vit.blocks), not getattr(embed, "strict_img_size", True))
        self.net = vit  # or another model with its methods
        self.mean, self.std, _ = from_timm_config(timm.models.PretrainedCfg(**cfg)) if cfg else Preprocessing()

    def forward(
        self, image_BCHW: Tensor | PackedImages, blocks: Sequence[int] = (), patch_size: int | None = None
    ) -> Features:
        if isinstance(image_BCHW, PackedImages):
            raise ConfigError("timm's backbones take images of one size; packed ones are for DeiT and Adventurer")
        if patch_size not in (None, self.stride):
            raise ConfigError(f"patch {patch_size} differs from {self.stride}, the only patch size of timm's backbones")
        layout = TokenLayout(self.stride, image_BCHW.device, check_image(image_BCHW, self.stride))
        wanted = sorted({*blocks, self.depth - 1})
        found = self.net.forward_intermediates(image_BCHW, indices=wanted, norm=True)
        final_BTD, maps = cast(tuple[Tensor, list[Tensor]], found)  # by other options lists alone, or a dictionary
        of_block = {n: map_BDhw.flatten(2).transpose(1, 2) for n, map_BDhw in zip(wanted, maps, strict=True)}
        pooled_ND = self.net.forward_head(final_BTD, pre_logits=True)
        return Features(of_block[self.depth - 1], pooled_ND, layout, tuple(of_block[n] for n in blocks))

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Draw matrices and kernels by their module's name: trunc_normal 0.02, biases 0, as for ViTs. Parameters that
        are not in a torch layer, such as positions, remain as timm's constructor drew them."""
        initialise_by_name(self.net, seed, _draw)

    def no_weight_decay(self) -> set[str]:
        """Also positions and class tokens of models that do not list them."""
        own = {name for name, _ in self.net.named_parameters() if name.rsplit(".", 1)[-1] in ("pos_embed", "cls_token")}
        return super().no_weight_decay() | own

    @property
    def checkpoint_module(self) -> nn.Module:
        """The module whose keys are those of timm's checkpoints."""
        return self.net

    def residual_stream(self) -> ResidualStream:
        blocks = list(self.net.blocks)
        two_steps = all(isinstance(block, Block | EvaBlock) for block in blocks)  # the mixer, then the MLP
        class_token = 0 if getattr(self.net, "cls_token", None) is not None else None
        return ResidualStream(blocks, "norm2" if two_steps else "", self.net.num_prefix_tokens, class_token)

    def convert_state_dict(self, state: dict[str, Tensor], pos_embed_resampling: str = "aligned") -> dict[str, Tensor]:
        """timm's keys for this patch and image, by the function and the filter with which timm loads this model."""
        fit = getattr(sys.modules[type(self.net).__module__], "checkpoint_filter_fn", None)
        try:
            return fit(state, self.net, **_filter(self.net)) if fit else state
        except (KeyError, RuntimeError, AttributeError, AssertionError, ValueError) as e:
            what = f"these weights cannot be made to fit timm's {type(self.net).__name__}"
            raise ConfigError(f"{what} ({first_line(e)})") from e


def _filter(net: nn.Module) -> dict[str, object]:
    """How timm resamples patch kernels and positions of this model where that is not bicubic and antialiased: FlexiViT
    and RADIO were trained with bilinear, not antialiased (timm's _create_vision_transformer)."""
    name = (getattr(net, "pretrained_cfg", None) or {}).get("architecture", "")
    if "flexi" not in name and "radio" not in name:
        return {}
    found: dict[str, object] = {"interpolation": "bilinear", "antialias": False}
    corners = getattr(timm.models.vision_transformer, "_RADIO_ALIGN_CORNERS", ())
    if any(part in name for part in corners):
        found["align_corners"] = True
    return found


def _create(name: str, image: int, patch: int) -> nn.Module:
    """The model without a classifier; for images of several sizes where it can."""
    if not timm.is_model(name):
        near = timm.list_models(f"{name.split('_')[0]}_*patch*")[:5]
        raise ConfigError(f"timm has no model {name!r}; similar names: {', '.join(near) or 'none'}")
    plain = partial(timm.create_model, name, img_size=image, patch_size=patch, num_classes=0)
    for create in (partial(plain, dynamic_img_size=True), plain):
        try:
            return create()
        except TypeError as e:
            reason = first_line(e)
        except (ValueError, RuntimeError, AssertionError) as e:
            raise ConfigError(f"timm's {name} cannot be built for {image} px and patch {patch} ({e})") from e
    raise ConfigError(
        f"timm's {name} is not a plain ViT that can be built for {image} px and patch {patch} "
        f"({reason}); timm_maps:{name} takes its feature maps"
    )


def _draw(module: nn.Module, name: str) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d | nn.LayerNorm):
        module.reset_parameters()
