"""DeiT (arXiv 2012.12877) and DeiT III (arXiv 2204.07118) at any image and patch size, on timm's VisionTransformer.

Sizes: Table 7 of arXiv 2502.03738. B batch, L patches, T tokens (class token first), D width, H heads, P channels of a
head.
"""

import functools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import Attention, Block, VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from scaling.backbones.base import Backbone, Features, ResidualStream, TokenLayout
from scaling.backbones.batch_norm import TokenBatchNorm, batch_norms
from scaling.backbones.drop_path import DropPath
from scaling.backbones.init import initialise_by_name
from scaling.backbones.packed_attention import Biases, attention_within_images
from scaling.backbones.patch_embed import KERNEL, ConvPatchEmbed, PatchEmbed
from scaling.backbones.pos_embed import build_position
from scaling.backbones.position_encoding import PositionEncoding, PositionSpec
from scaling.backbones.resampling import BICUBIC, BILINEAR, LINEAR, Filter
from scaling.backbones.sincos import Reference
from scaling.errors import ConfigError, first_line
from scaling.model_specs import ModelSpec
from scaling.packing.packed_images import PackedImages
from scaling.packing.packed_rows import PackedRows

LOG = logging.getLogger(__name__)
POSITIONS = "positions."  # parameters of position encodings, beside a table
Rotate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # of queries and keys (B, H, T, P)


class PositionedBlock(Block):
    """timm's block, whose queries and keys may be rotated, and whose rows may hold several images."""

    def forward(
        self,
        x_BTD: Tensor,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
        rotate: Rotate | None = None,
        rows: PackedRows | None = None,
        biases: Biases | None = None,
    ) -> Tensor:
        """attn_mask: what is added to attention's logits (B or 1, H, T, T). rows: images that share rows; a token
        attends to those of its image. biases: attn_mask of an image of each grid, where there are rows."""
        if rows is None and rotate is None:
            return super().forward(x_BTD) if attn_mask is None else super().forward(x_BTD, attn_mask=attn_mask)
        y_BTD = self._attention(self.norm1(x_BTD), attn_mask, rotate, rows, biases)
        x_BTD = x_BTD + self.drop_path1(self.ls1(y_BTD), rows)
        return x_BTD + self.drop_path2(self.ls2(self.mlp(self.norm2(x_BTD))), rows)

    def _attention(
        self,
        x_BTD: Tensor,
        attn_mask: Tensor | None,
        rotate: Rotate | None,
        rows: PackedRows | None,
        biases: Biases | None,
    ) -> Tensor:
        """timm's Attention without its options that DeiT does not use."""
        attn = cast(Attention, self.attn)
        q_BHTP, k_BHTP, v_BHTP = attn.qkv(x_BTD).unflatten(2, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        if rotate is not None:
            q_BHTP, k_BHTP = rotate(q_BHTP, k_BHTP)
        if rows is not None:
            return attn.proj(attention_within_images(q_BHTP, k_BHTP, v_BHTP, rows, biases))
        y_BHTP = F.scaled_dot_product_attention(q_BHTP, k_BHTP, v_BHTP, attn_mask=attn_mask)
        return attn.proj(y_BHTP.transpose(1, 2).flatten(2))


class PositionedViT(VisionTransformer):
    """timm's model as a container: Deit.forward runs its modules, with this project's embedding and positions."""

    patch_embed: PatchEmbed
    positions: PositionEncoding
    cls_token: nn.Parameter

    def group_matcher(self, coarse: bool = False) -> dict[str, str | list]:
        """timm's groups; parameters of position encodings belong to the stem."""
        groups = super().group_matcher(coarse)
        return {**groups, "stem": f"{groups['stem']}|positions"}


class Deit(Backbone):
    """A plain ViT with a class token, for images of `image` px in patches of `patch` px."""

    def __init__(
        self,
        size: ModelSpec,
        image: int,
        patch: int,
        *,
        drop_path: float = 0.0,
        pos_embed: str = "learned",
        reference: Reference | None = None,
        patch_embed: PatchEmbed | None = None,
        position_options: Mapping[str, object] | None = None,
        norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:
        """pos_embed: name of an encoding (pos_embed.py); reference: the unit of its coordinates, None: this image and
        patch. patch_embed: None is a convolution. position_options: of the encoding, as its kind in the configuration
        has them. norm_layer: of a width; None is timm's LayerNorm. Raises ConfigError."""
        super().__init__(size.width, patch, size.depth)
        embed = patch_embed or ConvPatchEmbed(3, size.width, image, patch)
        heads, grid = size.width // size.head_dim, image // patch
        spec = PositionSpec(size.width, heads, grid, patch, reference or Reference(grid, patch), size.depth)
        positions = build_position(pos_embed, spec, **(position_options or {}))
        is_deit3 = size.family == "deit3"
        self.vit = PositionedViT(
            img_size=image,
            patch_size=patch,
            embed_dim=size.width,
            depth=size.depth,
            num_heads=heads,
            mlp_ratio=size.mlp / size.width,
            num_classes=0,
            init_values=1e-6 if is_deit3 else None,
            no_embed_class=is_deit3,
            pos_embed="learn" if positions.has_table else "none",
            block_fn=PositionedBlock,
            norm_layer=norm_layer,
        )
        self.vit.patch_embed, self.vit.positions = embed, positions
        if positions.has_table and positions.table_side != grid:
            tokens = positions.table_side**2 + (not is_deit3)
            self.vit.pos_embed = nn.Parameter(torch.zeros(1, tokens, size.width))
        self._batch_norms = batch_norms(self.vit)
        for n, block in enumerate(self.vit.blocks):  # by image; timm's DropPath draws for the batch
            rate = drop_path * n / max(size.depth - 1, 1)
            block.drop_path1, block.drop_path2 = DropPath(rate), DropPath(rate)

    def forward(
        self, image_BCHW: Tensor | PackedImages, blocks: Sequence[int] = (), patch_size: int | None = None
    ) -> Features:
        vit, hidden = self.vit, []
        patches_BLD, layout = vit.patch_embed(image_BCHW, patch_size)
        for norm in self._batch_norms:
            norm.patch_size = layout.patch_px
        x_BTD, layout = layout.with_class_tokens(patches_BLD, vit.cls_token)  # in DeiT III it has no position
        x_BTD = vit.positions.add(x_BTD, layout, vit.pos_embed)
        bias, biases = self._biases(layout)
        for n, block in enumerate(vit.blocks):
            turn = functools.partial(vit.positions.rotate, layout=layout, block=n) if vit.positions.rotates else None
            if vit.grad_checkpointing and torch.is_grad_enabled():
                x_BTD = checkpoint(block, x_BTD, bias, False, turn, layout.rows, biases, use_reentrant=False)
            else:
                x_BTD = block(x_BTD, bias, False, turn, layout.rows, biases)
            if n in blocks:
                hidden.append(layout.patches(vit.norm(x_BTD)))
        x_BTD = vit.norm(x_BTD)
        return Features(layout.patches(x_BTD), layout.class_token(x_BTD), layout, tuple(hidden))

    def _biases(self, layout: TokenLayout) -> tuple[Tensor | None, Biases | None]:
        """Bias of all blocks: of images of one grid, or of an image of each grid in rows."""
        positions = self.vit.positions
        if layout.rows is None:
            return positions.bias(layout), None
        found = {grid: positions.bias(replace(layout, grid=grid, rows=None)) for grid in set(layout.rows.grids)}
        biases = {grid: bias for grid, bias in found.items() if bias is not None}
        if biases and layout.rows.kept is not None:
            raise ConfigError(
                "relative biases are of whole images, and tokens are dropped: use rope or --token-drop none"
            )
        return None, biases or None

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Draw every weight by its module's name: trunc_normal 0.02, biases 0, norms 1, as timm and DeiT do."""
        initialise_by_name(self.vit, seed, self._draw)
        table_LD, stored_1TD = self.vit.positions.fixed_table(), self.vit.pos_embed
        if table_LD is not None and stored_1TD is not None:
            fixed_1TD = torch.zeros_like(stored_1TD)
            fixed_1TD[0, -len(table_LD) :] = table_LD
            stored_1TD.copy_(fixed_1TD).requires_grad_(False)

    def _draw(self, module: nn.Module, name: str) -> None:
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d | nn.LayerNorm | TokenBatchNorm | PositionEncoding):
            module.reset_parameters()
        elif isinstance(module, PositionedViT):
            nn.init.normal_(module.cls_token, std=1e-6)
            if module.pos_embed is not None:
                nn.init.trunc_normal_(module.pos_embed, std=0.02)

    @property
    def checkpoint_module(self) -> nn.Module:
        """The module whose keys are those of timm's checkpoints."""
        return self.vit

    def residual_stream(self) -> ResidualStream:
        return ResidualStream(list(self.vit.blocks), "norm2", 1, 0)

    @property
    def positioned_class_tokens(self) -> tuple[int, int]:
        return (0 if self.vit.no_embed_class else 1), 0

    def convert_state_dict(self, state: dict[str, Tensor], pos_embed_resampling: str = "aligned") -> dict[str, Tensor]:
        """timm's keys for this patch and image: positions and patch kernels resampled by timm's own functions, except
        the kernel of a flexible embedding. Weights of FlexiViT, whose class token has no position, fit with zeros for
        it. pos_embed_resampling: bilinear, or bicubic for aligned and released: the class token is first here, as in
        the released code."""
        positions = self.vit.positions
        if KERNEL not in state or (positions.has_table and "pos_embed" not in state):
            raise ConfigError(
                "these are not weights of a plain ViT: they hold no patch_embed.proj.weight or no pos_embed"
            )
        width = state.get("norm.weight", state[KERNEL]).shape[0]  # that kernel has some of the channels only at times
        if width != self.width:
            raise ConfigError(f"these weights are {width} channels wide; this backbone is {self.width}")
        if "dist_token" in state:
            state = _without_distillation(state)
        how = BICUBIC
        if not self.vit.no_embed_class and "pos_embed" in state and _is_square(state["pos_embed"].shape[1]):
            # FlexiViT's: no other plain ViT without layer scale has a class token without position.
            how, state = BILINEAR, {**state, "pos_embed": F.pad(state["pos_embed"], (0, 0, 1, 0))}
            if getattr(self.vit.patch_embed, "antialias", False):
                LOG.warning(
                    "these are weights of FlexiViT, whose kernel was resized without antialiasing: --antialias false "
                    "gives its logits at patches smaller than the kernel"
                )
        if not positions.has_table and "pos_embed" in state:
            raise ConfigError(
                "these weights hold a table of positions (pos_embed), and this backbone has none: --pos-embed learned "
                "has one, and rope and relative have it with --learned-table true"
            )
        if positions.fixed_table() is not None and self.vit.pos_embed is not None:
            state = {**state, "pos_embed": self.vit.pos_embed.detach()}
        if ("blocks.0.ls1.gamma" in state) != ("blocks.0.ls1.gamma" in self.vit.state_dict()):
            return state  # DeiT for DeiT III or the reverse: nothing to resample, the loader names the keys
        try:
            state = self._own_positions(self.vit.patch_embed.convert_state_dict(state, how))
            how = LINEAR if pos_embed_resampling == "bilinear" else how
            return {**checkpoint_filter_fn(state, self.vit, **how), **self._own_grid(state, how)}
        except RuntimeError as e:
            raise ConfigError(f"these weights cannot be made to fit this backbone ({first_line(e)})") from e

    def _own_positions(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """With the parameters of the position encoding at its grid."""
        named = {name.removeprefix(POSITIONS): t for name, t in state.items() if name.startswith(POSITIONS)}
        fitted = self.vit.positions.convert_state_dict(named)
        return {**state, **{f"{POSITIONS}{name}": tensor for name, tensor in fitted.items()}}

    def _own_grid(self, state: dict[str, Tensor], how: Filter) -> dict[str, Tensor]:
        """Learned positions at the grid of this model's table, where that is not the grid of its tokens, to which timm
        resamples; else nothing."""
        side, first = self.vit.positions.table_side, 0 if self.vit.no_embed_class else 1
        if side == self.vit.patch_embed.grid_size[0]:
            return {}
        table_1TD = state["pos_embed"]
        patches_1LD = resample_abs_pos_embed(table_1TD[:, first:], [side, side], num_prefix_tokens=0, **how)
        return {"pos_embed": torch.cat([table_1TD[:, :first], patches_1LD], 1)}


def _is_square(n: int) -> bool:
    return math.isqrt(n) ** 2 == n


def _without_distillation(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A distilled DeiT's without its second token, which a plain one does not have, and without that one's position."""
    LOG.warning("these are weights of a distilled DeiT: its distillation token is left out, and that one's position")
    state = {name: tensor for name, tensor in state.items() if name != "dist_token"}
    pos_1TD = state["pos_embed"]
    patches = max(0, pos_1TD.shape[1] - 2)
    if _is_square(patches):  # the class token's, this one's, then theirs
        state["pos_embed"] = torch.cat([pos_1TD[:, :1], pos_1TD[:, 2:]], 1)
    return state
