"""DeiT (arXiv 2012.12877) and DeiT III (arXiv 2204.07118) at any image and patch size, on timm's VisionTransformer.

Sizes: Table 7 of arXiv 2502.03738. B batch, L patches, D width, h w grid.
"""

import logging
import math
from collections.abc import Sequence
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from scaling.backbones import Features
from scaling.backbones.checkpoint_io import initialise_by_name
from scaling.backbones.drop_path import DropPath
from scaling.backbones.patch_embed import check_image, embedding
from scaling.backbones.pos_embed import Reference, Sines
from scaling.errors import ConfigError, first_line
from scaling.model_specs import Size
from scaling.pixels import MEAN, STD
from scaling.recipe import check_patch

LOG = logging.getLogger(__name__)


class _ViT(VisionTransformer):
    """timm's, whose positions at other grids are evaluated where they are a function of coordinates."""

    sines: Sines | None = None

    def _pos_embed(self, x: Tensor) -> Tensor:
        grid = (x.shape[1], x.shape[2])  # timm's map of tokens here is (B, h, w, D)
        if self.sines is None or grid == tuple(self.patch_embed.grid_size):
            return super()._pos_embed(x)
        assert self.cls_token is not None
        assert self.pos_embed is not None
        patches_BLD = x.flatten(1, 2) + self.sines.like(grid, self.pos_embed)
        return self.pos_drop(torch.cat([self.cls_token.expand(len(x), -1, -1), patches_BLD], 1))


class Deit(nn.Module):
    """A plain ViT with a class token. image, patch [px]; position: learned or sincos (fixed, class token at zero), with
    reference and meaning as in pos_embed.py; no reference: this image and patch."""

    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD

    def __init__(
        self,
        size: Size,
        image: int,
        patch: int,
        *,
        drop_path: float = 0.0,
        position: str = "learned",
        extend: int = 0,
        reference: Reference | None = None,
        meaning: str = "place",
    ) -> None:
        super().__init__()
        check_patch(image, patch)
        self.width, self.stride, self.depth, self.dynamic_img_size = size.width, patch, size.depth, True
        is_deit3 = size.family == "deit3"
        self.vit = _ViT(
            img_size=image,
            patch_size=patch,
            embed_dim=size.width,
            depth=size.depth,
            num_heads=size.width // size.head_dim,
            mlp_ratio=size.mlp / size.width,
            num_classes=0,
            init_values=1e-6 if is_deit3 else None,
            no_embed_class=is_deit3,
            dynamic_img_size=True,  # other sizes too: positions are resampled
        )
        if position == "sincos":
            self.vit.sines = Sines(size.width, patch, reference or Reference(image // patch, patch), meaning)
        if extend:
            self.vit.patch_embed.proj = embedding(3, size.width, patch, extend)
        for n, block in enumerate(self.vit.blocks):  # image by image; timm's has numbers of the batch's
            rate = drop_path * n / max(size.depth - 1, 1)
            block.drop_path1, block.drop_path2 = DropPath(rate), DropPath(rate)

    def forward(self, image_BCHW: Tensor, blocks: Sequence[int] = ()) -> Features:
        grid, maps = check_image(image_BCHW, self.stride), []
        if blocks:
            vit: Any = self.vit  # timm's own annotation allows for more than it returns here
            tokens_BLD, maps = vit.forward_intermediates(image_BCHW, list(blocks), norm=True)
        else:
            tokens_BLD = self.vit.forward_features(image_BCHW)
        return Features(tokens_BLD[:, 1:].transpose(1, 2).unflatten(2, grid), tokens_BLD[:, 0], tuple(maps))

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Draw every weight by its module's name: trunc_normal 0.02, biases 0, norms 1, as timm and DeiT do."""
        initialise_by_name(self.vit, seed, self._draw)
        if self.vit.sines is not None:
            table_LD = self.vit.sines.table(self.vit.patch_embed.grid_size)
            fixed_1LD = torch.zeros_like(self._positions)
            fixed_1LD[0, -len(table_LD) :] = table_LD
            self._positions.copy_(fixed_1LD).requires_grad_(False)

    def _draw(self, module: nn.Module, name: str) -> None:
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d | nn.LayerNorm):
            module.reset_parameters()
        elif module is self.vit:
            assert self.vit.cls_token is not None
            nn.init.normal_(self.vit.cls_token, std=1e-6)
            nn.init.trunc_normal_(self._positions, std=0.02)

    @property
    def _positions(self) -> nn.Parameter:
        assert self.vit.pos_embed is not None
        return self.vit.pos_embed

    @property
    def checkpoint_module(self) -> nn.Module:
        """The module whose keys are those of timm's checkpoints."""
        return self.vit

    def convert_state_dict(self, state: dict[str, Tensor], compat: str = "fixed") -> dict[str, Tensor]:
        """timm's keys for this patch and image: positions and patch kernels resampled by timm's own functions. The
        class token is first here, as every code has it: compat makes no difference."""
        if "patch_embed.proj.weight" not in state or "pos_embed" not in state:
            raise ConfigError(
                "these are not weights of a plain ViT: they hold no patch_embed.proj.weight or no pos_embed"
            )
        width = state["pos_embed"].shape[-1]
        if width != self.width:
            raise ConfigError(f"these weights are {width} channels wide; this backbone is {self.width}")
        if "dist_token" in state:
            state = _without_distillation(state)
        if self.vit.sines is not None:  # a function, not learned
            state = {**state, "pos_embed": self._positions.detach()}
        if ("blocks.0.ls1.gamma" in state) != ("blocks.0.ls1.gamma" in self.vit.state_dict()):
            return state  # DeiT for DeiT III or the reverse: nothing to resample, the loader names the keys
        try:
            return checkpoint_filter_fn(state, self.vit)
        except RuntimeError as e:
            raise ConfigError(f"these weights cannot be made to fit this backbone ({first_line(e)})") from e


def _without_distillation(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A distilled DeiT's, whose second token has no place in a plain one: that token and its position are left out."""
    LOG.warning("these are weights of a distilled DeiT: its distillation token is left out, and that one's position")
    state = {name: tensor for name, tensor in state.items() if name != "dist_token"}
    pos_1LD = state["pos_embed"]
    patches = max(0, pos_1LD.shape[1] - 2)
    if math.isqrt(patches) ** 2 == patches:  # the class token's, this one's, then theirs
        state["pos_embed"] = torch.cat([pos_1LD[:, :1], pos_1LD[:, 2:]], 1)
    return state
