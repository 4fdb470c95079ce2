"""Adventurer: a plain backbone whose cost is linear in tokens, as released; Mamba-2 mixers between SwiGLU MLPs.

Source: arXiv 2410.07599; sizes in Table 7 of arXiv 2502.03738 (which prints 759 M parameters for Huge at patch 16,
224 px, 1000 classes; its own dimensions give 718.0 M). Mamba-2: arXiv 2405.21060. Written from the papers and from
the released checkpoints' keys and shapes, which this model's state_dict has exactly.
The methods and attributes named as timm names them are what timm asks of a model; timm_entrypoints.py registers it
there. B batch, C channels, H W pixels, h w grid, L = h*w patches, D width, E = 2 D, N state size, K taps.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import lecun_normal_, resample_abs_pos_embed, resample_patch_embed
from timm.models._features import feature_take_indices
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from scaling.backbones import Features
from scaling.backbones.adventurer_block import Block, Mixer, RMSNorm
from scaling.backbones.checkpoint_io import initialise_by_name
from scaling.backbones.patch_embed import check_image, embedding
from scaling.backbones.pos_embed import Reference, Sines, resample_as_released
from scaling.errors import ConfigError
from scaling.model_specs import Size
from scaling.pixels import MEAN, STD
from scaling.recipe import COMPATS, check_name, check_patch
from scaling.tasks.optim import NO_DECAY

# Kept: the released code flips blocks 2 and 3 only (n // 2 == 1), and the released weights need that.
# Its comment and the paper say every two blocks, which is "alternate".
FLIPS = {"released": lambda n: n // 2 == 1, "alternate": lambda n: n // 2 % 2 == 1}
POOLS = ("token", "avg", "")  # what the head sees: the class token, the mean of the patches, or every token


class PatchEmbed(nn.Module):
    """Pixels to tokens by a convolution whose kernel is its stride. extend: as patch.embedding's."""

    def __init__(self, width: int, patch: int, channels: int = 3, extend: int = 0) -> None:
        super().__init__()
        self.proj = embedding(channels, width, patch, extend)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return self.proj(image_BCHW).flatten(2).transpose(1, 2)


class Adventurer(nn.Module):
    """tokens (B, L+1, D), the class token last; forward_intermediates: maps (B, D, h, w) too; forward: logits."""

    def __init__(
        self,
        size: Size,
        image: int,
        patch: int,
        classes: int = 0,
        *,
        flip: str = "released",
        drop_path: float = 0.0,
        position: str = "learned",
        channels: int = 3,
        dropout: float = 0.0,
        pool: str = "token",
        extend: int = 0,
        dynamic_img_size: bool = False,
        reference: Reference | None = None,
        meaning: str = "place",
    ) -> None:
        super().__init__()
        check_patch(image, patch)
        check_name("flip", flip, FLIPS)
        check_name("position", position, ("learned", "sincos"))
        check_name("global pool", pool, POOLS)
        if size.family != "adventurer":
            raise ConfigError(f"a size of family {size.family!r} is no Adventurer")
        self.width, self.stride = size.width, patch  # all that a head may ask for
        self.image, self.patch, self.grid = image, patch, image // patch
        self.dynamic_img_size = dynamic_img_size  # images of other sizes too, with positions resampled; timm's word
        self.num_features = self.head_hidden_size = self.embed_dim = size.width  # these and the next two: timm's
        self.num_classes, self.in_chans, self.global_pool = classes, channels, pool
        self.feature_info = [
            {"module": f"layers.{n}", "num_chs": size.width, "reduction": patch} for n in range(size.depth)
        ]
        self.patch_embed = PatchEmbed(size.width, patch, channels, extend)
        self.pos_embed: Tensor
        self.sines: Sines | None = None
        self.cls_token = nn.Parameter(torch.empty(1, 1, size.width))
        if position == "learned":
            self.pos_embed = nn.Parameter(torch.empty(1, self.grid**2 + 1, size.width))
        else:
            if size.width % 4:
                raise ConfigError(f"position sincos needs a width that 4 divides, not {size.width}")
            self.sines = Sines(size.width, patch, reference or Reference(self.grid, patch), meaning)
            table_LD = F.pad(self.sines.table((self.grid, self.grid)), (0, 0, 0, 1))  # class token: zeros
            self.register_buffer("pos_embed", table_LD.to(self.cls_token.device).unsqueeze(0), persistent=False)
        self.layers = nn.ModuleList(
            Block(size, FLIPS[flip](n), drop_path * n / max(size.depth - 1, 1)) for n in range(size.depth)
        )
        self.grad_checkpointing = False
        self._resampled: tuple[tuple, Tensor] | None = None  # positions of the last other grid, and for which
        self.norm_f: nn.Module = RMSNorm(size.width)
        self.head_drop = nn.Dropout(dropout)
        self.head: nn.Module = nn.Linear(size.width, classes) if classes else nn.Identity()
        for name, module in self.named_modules():
            self.draw(module, name)

    @torch.no_grad()
    def draw(self, module: nn.Module, name: str) -> None:
        """Initialise the own parameters of one module, by Mamba's and ViT's conventions as in the release."""
        if module is self:
            nn.init.trunc_normal_(self.cls_token, std=0.02)
            if isinstance(self.pos_embed, nn.Parameter):
                nn.init.trunc_normal_(self.pos_embed, std=0.02)
        elif isinstance(module, Mixer):
            module.A_log.uniform_(1, 16).log_()
            module.D.fill_(1)
            # softplus(dt_bias) is log-uniform in 0.001..0.1
            dt_H = torch.empty_like(module.dt_bias).uniform_(math.log(1e-3), math.log(1e-1)).exp_()
            module.dt_bias.copy_(dt_H + torch.log(-torch.expm1(-dt_H)))
        elif isinstance(module, RMSNorm):
            module.weight.fill_(1)
        elif isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            module.reset_parameters()
            if module.bias is not None:
                module.bias.zero_()
            if module is self.patch_embed.proj:
                lecun_normal_(module.weight)
            elif module is self.head:
                nn.init.trunc_normal_(module.weight, std=0.02)
            elif name.endswith("out_proj"):  # Mamba's rule goes by this name: mlp.w3 is not scaled
                module.weight.div_(math.sqrt(len(self.layers)))

    def _embedded(self, image_BCHW: Tensor) -> Tensor:
        sides = image_BCHW.shape[-2:]
        fits = image_BCHW.ndim == 4 and image_BCHW.shape[1] == self.in_chans
        if not fits or not (self.dynamic_img_size or sides == (self.image, self.image)):
            raise ConfigError(
                f"images are {tuple(image_BCHW.shape)}; this model is built for "
                f"(batch, {self.in_chans}, {self.image}, {self.image})"
            )
        x_BLD = self.patch_embed(image_BCHW)
        cls_B1D = self.cls_token.expand(len(x_BLD), -1, -1).to(x_BLD.dtype)
        return torch.cat([x_BLD, cls_B1D], 1) + self._positions(check_image(image_BCHW, self.patch))

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """(1, h w + 1, D): the model's own; where the grid is another, sines evaluated and a table resampled (bicubic);
        the class token's last. A resampled table is kept for as long as nothing learns from it: images of one size come
        after each other."""
        if grid == (self.grid, self.grid):
            return self.pos_embed
        if self.sines is not None:
            return F.pad(self.sines.like(grid, self.pos_embed), (0, 0, 0, 1)).unsqueeze(0)
        learning = self.pos_embed.requires_grad and torch.is_grad_enabled()
        now = (self.pos_embed._version, self.pos_embed.device, torch.is_inference_mode_enabled())
        key = (grid, *now)
        if not learning and self._resampled is not None and self._resampled[0] == key:
            return self._resampled[1]
        grid_1LD, cls_11D = self.pos_embed[:, :-1], self.pos_embed[:, -1:]
        found = torch.cat([resample_abs_pos_embed(grid_1LD, list(grid), num_prefix_tokens=0), cls_11D], 1)
        self._resampled = None if learning else (key, found)
        return found

    def _through(self, layer: nn.Module, x_BLD: Tensor) -> Tensor:
        if self.grad_checkpointing and torch.is_grad_enabled():
            return checkpoint(layer, x_BLD, use_reentrant=False)
        return layer(x_BLD)

    def as_map(self, x_BLD: Tensor, grid: tuple[int, int]) -> Tensor:
        """The patches among the tokens as (B, D, h, w), contiguous."""
        return x_BLD[:, :-1].transpose(1, 2).unflatten(-1, grid).contiguous()

    def tokens(self, image_BCHW: Tensor) -> Tensor:
        """(B, L+1, D) after the final norm; patches row by row, the class token last."""
        x_BLD = self._embedded(image_BCHW)
        for layer in self.layers:
            x_BLD = self._through(layer, x_BLD)
        return self.norm_f(x_BLD)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(image_BCHW))

    def forward_features(self, image_BCHW: Tensor) -> Tensor:
        return self.tokens(image_BCHW)

    def forward_head(self, x_BLD: Tensor, pre_logits: bool = False) -> Tensor:
        """What forward_features gives to logits; pre_logits: to what the classifier would see."""
        if self.global_pool:
            x_BLD = x_BLD[:, -1] if self.global_pool == "token" else x_BLD[:, :-1].mean(1)
        x_BLD = self.head_drop(x_BLD)
        return x_BLD if pre_logits else self.head(x_BLD)

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
        """What blocks give: (final tokens, list of maps), or the list alone.

        indices: the last so many blocks, or these blocks, or all. return_prefix_tokens: pairs of a map and of the class
        token (B, 1, D), which timm calls a prefix and which stands last here. norm: the final norm on every map too.
        stop_early: no block after the last one asked for. output_fmt: NCHW (B, D, h, w) or NLC (B, L, D).
        """
        check_name("output_fmt", output_fmt, ("NCHW", "NLC"))
        wanted, last = feature_take_indices(len(self.layers), indices)
        x_BLD, taken = self._embedded(image_BCHW), []
        for n, layer in enumerate(self.layers[: last + 1] if stop_early else self.layers):
            x_BLD = self._through(layer, x_BLD)
            if n in wanted:
                taken.append(self.norm_f(x_BLD) if norm else x_BLD)
        grid = check_image(image_BCHW, self.patch)
        maps = [self.as_map(y_BLD, grid) if output_fmt == "NCHW" else y_BLD[:, :-1] for y_BLD in taken]
        out = [(y, y_BLD[:, -1:]) for y, y_BLD in zip(maps, taken, strict=True)] if return_prefix_tokens else maps
        return out if intermediates_only else (self.norm_f(x_BLD), out)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop the blocks after the last one asked for; the final norm and the head if so told. Says which are kept."""
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
        """A new head, drawn anew; none where num_classes is 0. global_pool: another pooling as well."""
        if global_pool is not None:
            check_name("global pool", global_pool, POOLS)
            self.global_pool = global_pool
        self.num_classes = num_classes
        self.head = nn.Linear(self.width, num_classes) if num_classes else nn.Identity()
        self.head.to(self.cls_token).train(self.training)  # its device and dtype
        self.draw(self.head, "head")

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep only what is between blocks and compute a block again on the way back: memory for time."""
        self.grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        return {name for name, _ in self.named_parameters() if name.rsplit(".", 1)[-1] in NO_DECAY}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Groups for a learning rate by depth: the embedding, each block, the final norm with the last block, then the
        head, which nothing here matches. coarse is timm's; a block is not taken apart either way."""
        return {
            "stem": r"^(?:cls_token|pos_embed|patch_embed)",
            "blocks": [(r"^layers\.(\d+)", None), (r"^norm_f", (99999,))],  # timm's number for "the group before"
        }

    def convert_state_dict(self, state: dict[str, Tensor], compat: str = "fixed") -> dict[str, Tensor]:
        """Released keys for this patch and image: positions (class token last) and patch kernels resampled as timm
        does. compat: fixed, or official: positions as the released code resamples them, which takes the first for the
        class token's and so shifts the grid by one. Raises ConfigError where the blocks are not as many."""
        check_name("compat", compat, COMPATS)
        kernel = state.get("patch_embed.proj.weight")
        depth = len({key.split(".")[1] for key in state if key.startswith("layers.")})
        if kernel is None or not depth:
            raise ConfigError("these are not weights of an Adventurer: no patch_embed.proj.weight or no layers.N")
        if depth != len(self.layers):
            raise ConfigError(f"these are weights of {depth} blocks; this Adventurer has {len(self.layers)}")
        state = dict(state)
        own = self.patch_embed.proj.weight.shape[-1]
        if kernel.ndim == 4 and kernel.shape[-1] != own:
            state["patch_embed.proj.weight"] = resample_patch_embed(kernel, [own, own])
        if not isinstance(self.pos_embed, nn.Parameter):
            state.pop("pos_embed", None)
        elif "pos_embed" in state and state["pos_embed"].shape[1] != self.pos_embed.shape[1]:
            grid_1LD, cls_11D = state["pos_embed"][:, :-1], state["pos_embed"][:, -1:]
            if math.isqrt(grid_1LD.shape[1]) ** 2 != grid_1LD.shape[1]:
                raise ConfigError(f"these weights have positions of {grid_1LD.shape[1]} patches, which is no square")
            if compat == "official":
                state["pos_embed"] = resample_as_released(state["pos_embed"], self.grid)
            else:
                grid_1LD = resample_abs_pos_embed(grid_1LD, [self.grid, self.grid], num_prefix_tokens=0)
                state["pos_embed"] = torch.cat([grid_1LD, cls_11D], 1)
        return state


class AdventurerBackbone(nn.Module):
    """Adventurer without a classifier, under the contract of backbones: Features out, weights by name."""

    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD

    def __init__(
        self,
        size: Size,
        image: int,
        patch: int,
        *,
        flip: str = "released",
        drop_path: float = 0.0,
        position: str = "learned",
        extend: int = 0,
        reference: Reference | None = None,
        meaning: str = "place",
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {"flip": flip, "drop_path": drop_path, "position": position, "extend": extend}
        options |= {"reference": reference, "meaning": meaning}
        self.net = Adventurer(size, image, patch, dynamic_img_size=True, **options)
        self.width, self.stride, self.depth, self.dynamic_img_size = size.width, patch, size.depth, True

    def forward(self, image_BCHW: Tensor, blocks: Sequence[int] = ()) -> Features:
        if blocks:
            x_BLD, maps = self.net.forward_intermediates(image_BCHW, list(blocks), norm=True)
        else:
            x_BLD, maps = self.net.tokens(image_BCHW), []
        grid_BDhw = self.net.as_map(x_BLD, check_image(image_BCHW, self.stride))
        return Features(grid_BDhw, x_BLD[:, -1], tuple(maps))

    def initialise(self, seed: int) -> None:
        """Draw every weight from seed by its module's name."""
        initialise_by_name(self.net, seed, self.net.draw)

    @property
    def checkpoint_module(self) -> nn.Module:
        """The module whose keys are those of the released checkpoints."""
        return self.net

    def convert_state_dict(self, state: dict[str, Tensor], compat: str = "fixed") -> dict[str, Tensor]:
        """Released keys for this patch and image, as Adventurer.fit_state."""
        return self.net.convert_state_dict(state, compat)
