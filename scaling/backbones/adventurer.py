"""Adventurer: a plain backbone whose cost is linear in tokens, as released; Mamba-2 mixers between SwiGLU MLPs.

Source: arXiv 2410.07599; sizes in Table 7 of arXiv 2502.03738 (which prints 759 M parameters for Huge at patch 16,
224 px, 1000 classes; its own dimensions give 718.0 M). Mamba-2: arXiv 2405.21060. Written from the papers and from
the released checkpoints' keys and shapes, which this model's state_dict has exactly.
Methods and attributes that are named as in timm are those that timm requires of a model; timm_entrypoints.py registers
it there. B batch, C channels, H W pixels, h w grid, L = h * w patches, T = L + 1 tokens, D width.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from timm.layers import lecun_normal_
from timm.models._features import feature_take_indices
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from scaling.backbones.adventurer_block import Block, Mixer, RMSNorm
from scaling.backbones.base import TokenLayout
from scaling.backbones.embed_init import EmbedConv
from scaling.backbones.patch_embed import ConvPatchEmbed, PatchEmbed
from scaling.backbones.pos_embed import build_position, resample_table
from scaling.backbones.position_encoding import PositionEncoding, PositionSpec
from scaling.backbones.sincos import Reference
from scaling.config.fields import check_name
from scaling.config.initialization import RESAMPLINGS
from scaling.errors import ConfigError
from scaling.model_specs import ModelSpec
from scaling.packing.packed_images import PackedImages

# Kept: the released code flips blocks 2 and 3 only (n // 2 == 1), and the released weights need that.
# Its comment and the paper state every two blocks, which is "alternate".
FLIPPED_BLOCKS = {"released": lambda n: n // 2 == 1, "alternate": lambda n: n // 2 % 2 == 1}
POOLS = ("token", "avg", "")  # what the head reads: the class token, the mean of the patches, or every token
NO_DECAY = {"pos_embed", "cls_token", "A_log", "D", "dt_bias"}  # last parts of names; vectors have no decay anyway


class EncodedTokens(NamedTuple):
    """What the blocks return; patches row by row, the class token last."""

    tokens_BTD: Tensor  # before the final norm
    hidden: list[Tensor]  # (B, T, D) after each requested block
    layout: TokenLayout  # where they lie


class Adventurer(nn.Module):
    """Tokens (B, L+1, D), the class token last; forward_intermediates: maps (B, D, h, w) too; forward: logits."""

    def __init__(
        self,
        size: ModelSpec,
        image: int,
        patch: int,
        classes: int = 0,
        *,
        scan_direction: str = "released",
        drop_path: float = 0.0,
        pos_embed: str = "learned",
        reference: Reference | None = None,
        patch_embed: PatchEmbed | None = None,
        position_options: Mapping[str, object] | None = None,
        channels: int = 3,
        dropout: float = 0.0,
        pool: str = "token",
        dynamic_img_size: bool = False,
    ) -> None:
        """For images of `image` px in patches of `patch` px. classes: 0 is without a head.
        scan_direction: one of FLIPPED_BLOCKS. pos_embed: name of an encoding (pos_embed.py); reference: the unit of its
        coordinates, None: this image and patch. patch_embed: None is a convolution. position_options: of the encoding,
        as its kind in the configuration has them. pool: one of POOLS.
        dynamic_img_size: other image sizes are accepted. Raises ConfigError."""
        super().__init__()
        embed = patch_embed or ConvPatchEmbed(channels, size.width, image, patch)
        check_name("scan_direction", scan_direction, FLIPPED_BLOCKS)
        check_name("global pool", pool, POOLS)
        if size.family != "adventurer":
            raise ConfigError(f"a model of family {size.family!r} is not an Adventurer")
        self.width, self.image, self.stride, self.grid = size.width, image, patch, image // patch
        self.dynamic_img_size = dynamic_img_size
        self.num_features = self.head_hidden_size = self.embed_dim = size.width
        self.num_classes, self.in_chans, self.global_pool = classes, channels, pool
        self.feature_info = [
            {"module": f"layers.{n}", "num_chs": size.width, "reduction": patch} for n in range(size.depth)
        ]
        unit = reference or Reference(self.grid, patch)
        spec = PositionSpec(size.width, 0, self.grid, patch, unit, size.depth, size.state)
        positions = build_position(pos_embed, spec, **(position_options or {}))
        if positions.needs_attention:
            raise ConfigError(
                f"pos_embed {pos_embed} acts on queries, keys or logits of attention, which Adventurer does not have; "
                "use learned, sincos, factorized, fourier or rope_scan"
            )
        self.patch_embed, self.positions = embed, positions
        self.cls_token = nn.Parameter(torch.empty(1, 1, size.width))
        self._store_table(positions)
        flipped = FLIPPED_BLOCKS[scan_direction]
        self.layers = nn.ModuleList(
            Block(size, flipped(n), drop_path * n / max(size.depth - 1, 1)) for n in range(size.depth)
        )
        self.grad_checkpointing = False
        self.norm_f: nn.Module = RMSNorm(size.width)
        self.head_drop = nn.Dropout(dropout)
        self.head: nn.Module = nn.Linear(size.width, classes) if classes else nn.Identity()
        for name, module in self.named_modules():
            self.draw(module, name)

    def _store_table(self, positions: PositionEncoding) -> None:
        """pos_embed (1, L+1, D): a parameter where it is learned, as in the released weights; else not saved."""
        self.pos_embed: Tensor | None
        fixed_LD = positions.fixed_table()
        if fixed_LD is not None:
            table_TD = F.pad(fixed_LD, (0, 0, 0, 1))  # class token: zeros
            self.register_buffer("pos_embed", table_TD.to(self.cls_token.device).unsqueeze(0), persistent=False)
        else:
            empty_1TD = torch.empty(1, positions.table_side**2 + 1, self.width)
            self.pos_embed = nn.Parameter(empty_1TD) if positions.has_table else None

    @torch.no_grad()
    def draw(self, module: nn.Module, name: str) -> None:
        """Initialise the own parameters of one module, by Mamba's and ViT's conventions as in the release."""
        if module is self:
            nn.init.trunc_normal_(self.cls_token, std=0.02)
            if isinstance(self.pos_embed, nn.Parameter):
                nn.init.trunc_normal_(self.pos_embed, std=0.02)
        elif isinstance(module, Mixer | RMSNorm | nn.LayerNorm | PositionEncoding | EmbedConv):
            module.reset_parameters()
        elif isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            module.reset_parameters()
            if module.bias is not None:
                module.bias.zero_()
            if name.startswith("patch_embed."):
                lecun_normal_(module.weight)
            elif module is self.head:
                nn.init.trunc_normal_(module.weight, std=0.02)
            elif name.endswith("out_proj"):  # as in Mamba; mlp.w3 is not scaled
                module.weight.div_(math.sqrt(len(self.layers)))

    def _embedded(self, image_BCHW: Tensor | PackedImages, patch_size: int | None = None) -> tuple[Tensor, TokenLayout]:
        """Tokens before the first block, the class token last; and where they lie."""
        if isinstance(image_BCHW, Tensor):
            self._check_sides(image_BCHW)
        patches_BLD, layout = self.patch_embed(image_BCHW, patch_size)
        x_BTD, layout = layout.with_class_tokens(patches_BLD, trailing_1XD=self.cls_token)
        return self.positions.add(x_BTD, layout, self.pos_embed), layout

    def _check_sides(self, image_BCHW: Tensor) -> None:
        sides = image_BCHW.shape[-2:]
        fits = image_BCHW.ndim == 4 and image_BCHW.shape[1] == self.in_chans
        if not fits or not (self.dynamic_img_size or sides == (self.image, self.image)):
            raise ConfigError(
                f"images are {tuple(image_BCHW.shape)}; this model is built for "
                f"(batch, {self.in_chans}, {self.image}, {self.image})"
            )

    def encode(
        self,
        image_BCHW: Tensor | PackedImages,
        blocks: Sequence[int] = (),
        norm: bool = True,
        last: int | None = None,
        patch_size: int | None = None,
    ) -> EncodedTokens:
        """Run the blocks. norm: the final norm is applied to `hidden`. last: index of the last block to run; None: all
        are run."""
        x_BTD, layout = self._embedded(image_BCHW, patch_size)
        turns_BTE = self.positions.scan_turns(layout, torch.promote_types(x_BTD.dtype, torch.float32))
        hidden = []
        for n, layer in enumerate(self.layers if last is None else self.layers[: last + 1]):
            if self.grad_checkpointing and torch.is_grad_enabled():
                x_BTD = checkpoint(layer, x_BTD, layout.rows, turns_BTE, use_reentrant=False)
            else:
                x_BTD = layer(x_BTD, layout.rows, turns_BTE)
            if n in blocks:
                hidden.append(self.norm_f(x_BTD) if norm else x_BTD)
        return EncodedTokens(x_BTD, hidden, layout)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(image_BCHW))

    def forward_features(self, image_BCHW: Tensor) -> Tensor:
        """Tokens (B, L+1, D) after the final norm, patches row by row, the class token last."""
        return self.norm_f(self.encode(image_BCHW).tokens_BTD)

    def forward_head(self, x_BTD: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits from forward_features' tokens; pre_logits: the classifier's input instead."""
        if self.global_pool:
            x_BTD = x_BTD[:, -1] if self.global_pool == "token" else x_BTD[:, :-1].mean(1)
        x_BTD = self.head_drop(x_BTD)
        return x_BTD if pre_logits else self.head(x_BTD)

    def forward_intermediates(
        self,
        image_BCHW: Tensor,
        indices: int | list[int] | None = None,
        return_prefix_tokens: bool = False,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list | tuple[Tensor, list]:
        """Outputs of blocks: (final tokens, list of maps), or the list alone.

        indices: the last so many blocks, or these blocks, or all. return_prefix_tokens: pairs of a map and of the class
        token (B, 1, D), which timm calls a prefix and which is last here. norm: the final norm on every map too.
        stop_early: no block after the last requested one is run. output_fmt: NCHW (B, D, h, w) or NLC (B, L, D).
        """
        check_name("output_fmt", output_fmt, ("NCHW", "NLC"))
        wanted, last = feature_take_indices(len(self.layers), indices)
        x_BTD, hidden, layout = self.encode(image_BCHW, wanted, norm, last if stop_early else None)
        assert layout.grid is not None
        maps = [y_BTD[:, :-1] for y_BTD in hidden]
        if output_fmt == "NCHW":
            maps = [y_BLD.transpose(1, 2).unflatten(-1, layout.grid).contiguous() for y_BLD in maps]
        out = [(y, y_BTD[:, -1:]) for y, y_BTD in zip(maps, hidden, strict=True)] if return_prefix_tokens else maps
        return out if intermediates_only else (self.norm_f(x_BTD), out)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Delete the blocks after the last requested one; prune_norm, prune_head: the final norm and the head too.
        Returns the indices of the requested blocks."""
        wanted, last = feature_take_indices(len(self.layers), indices)
        self.layers = self.layers[: last + 1]
        if prune_norm:
            self.norm_f = nn.Identity()
        if prune_head:
            self.reset_classifier(0, "")
        return wanted

    def get_classifier(self) -> nn.Module:
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the head by a newly drawn one; 0 classes: by none. global_pool: new pooling, None: as before."""
        if global_pool is not None:
            check_name("global pool", global_pool, POOLS)
            self.global_pool = global_pool
        self.num_classes = num_classes
        self.head = nn.Linear(self.width, num_classes) if num_classes else nn.Identity()
        self.head.to(self.cls_token).train(self.training)  # its device and dtype
        self.draw(self.head, "head")

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep only activations between blocks; recompute others in the backward pass: less memory, more time."""
        self.grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that get no weight decay, in addition to all vectors."""
        return {name for name, _ in self.named_parameters() if name.rsplit(".", 1)[-1] in NO_DECAY}

    def group_matcher(self, coarse: bool = False) -> dict[str, str | list[tuple[str, tuple[int] | None]]]:
        """Groups for a learning rate by depth: the embedding, each block, the final norm with the last block; the head
        matches none and comes last. coarse: without effect, a block is one group either way."""
        return {
            "stem": r"^(?:cls_token|pos_embed|positions|patch_embed)",
            "blocks": [(r"^layers\.(\d+)", None), (r"^norm_f", (99999,))],  # timm's number for "the group before"
        }

    def convert_state_dict(self, state: dict[str, Tensor], pos_embed_resampling: str = "aligned") -> dict[str, Tensor]:
        """Released keys for this patch and image: positions (class token last) and patch kernels resampled as timm
        does; pos_embed_resampling: as for resample_table. Raises ConfigError for weights of another architecture or
        depth."""
        depth = len({key.split(".")[1] for key in state if key.startswith("layers.")})
        if "patch_embed.proj.weight" not in state or not depth:
            raise ConfigError("these are not weights of an Adventurer: no patch_embed.proj.weight or no layers.N")
        if depth != len(self.layers):
            raise ConfigError(f"these are weights of {depth} blocks; this Adventurer has {len(self.layers)}")
        check_name("pos_embed_resampling", pos_embed_resampling, RESAMPLINGS)
        state = dict(self.patch_embed.convert_state_dict(state))
        if not isinstance(self.pos_embed, nn.Parameter):
            state.pop("pos_embed", None)
        elif "pos_embed" in state and state["pos_embed"].shape[1] != self.pos_embed.shape[1]:
            state["pos_embed"] = resample_table(state["pos_embed"], self.positions.table_side, pos_embed_resampling)
        return state
