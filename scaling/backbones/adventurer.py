"""Adventurer: a plain backbone whose cost is linear in tokens, as released; Mamba-2 mixers between SwiGLU MLPs.

Source: arXiv 2410.07599; sizes in Table 7 of arXiv 2502.03738 (which prints 759 M parameters for Huge at patch 16,
224 px, 1000 classes; its own dimensions give 718.0 M). Mamba-2: arXiv 2405.21060. Written from the papers and from
the released checkpoints' keys and shapes, which this model's state_dict has exactly.
B batch, C channels, H W pixels, h w grid, L = h*w patches, D width, E = 2 D, N state size, K taps.
"""

import math

import torch
import torch.nn.functional as F
from timm.layers import lecun_normal_, resample_abs_pos_embed, resample_patch_embed
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from scaling.backbones import Features
from scaling.backbones.adventurer_block import Block, Mixer, RMSNorm
from scaling.backbones.position import sincos_2d
from scaling.backbones.weights import initialise_by_name
from scaling.recipe import BadInput, check_name, check_patch
from scaling.sizes import Size

# Kept: the released code flips blocks 2 and 3 only (n // 2 == 1), and the released weights need that.
# Its comment and the paper say every two blocks, which is "alternate".
FLIPS = {"released": lambda n: n // 2 == 1, "alternate": lambda n: n // 2 % 2 == 1}


class PatchEmbed(nn.Module):
    """Pixels to tokens by a convolution whose kernel is its stride."""

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return self.proj(image_BCHW).flatten(2).transpose(1, 2)


class Adventurer(nn.Module):
    """tokens (B, L+1, D), the class token last; features: grid (B, D, h, w) and summary (B, D); forward: logits."""

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
    ) -> None:
        super().__init__()
        check_patch(image, patch)
        check_name("flip", flip, FLIPS)
        check_name("position", position, ("learned", "sincos"))
        if size.family != "adventurer":
            raise BadInput(f"a size of family {size.family!r} is no Adventurer")
        self.width, self.stride = size.width, patch  # all that a head may ask for
        self.image, self.patch, self.grid = image, patch, image // patch
        self.patch_embed = PatchEmbed(size.width, patch)
        self.pos_embed: Tensor
        self.cls_token = nn.Parameter(torch.empty(1, 1, size.width))
        if position == "learned":
            self.pos_embed = nn.Parameter(torch.empty(1, self.grid**2 + 1, size.width))
        else:
            if size.width % 4:
                raise BadInput(f"position sincos needs a width that 4 divides, not {size.width}")
            table_LD = F.pad(sincos_2d(self.grid, self.grid, size.width), (0, 0, 0, 1))  # class token: zeros
            self.register_buffer("pos_embed", table_LD.unsqueeze(0), persistent=False)
        self.layers = nn.ModuleList(
            Block(size, FLIPS[flip](n), drop_path * n / max(size.depth - 1, 1)) for n in range(size.depth)
        )
        self.grad_checkpointing = False
        self.norm_f = RMSNorm(size.width)
        self.head = nn.Linear(size.width, classes) if classes else nn.Identity()
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

    def tokens(self, image_BCHW: Tensor) -> Tensor:
        """(B, L+1, D) after the final norm; patches row by row, the class token last."""
        if image_BCHW.ndim != 4 or image_BCHW.shape[1:] != (3, self.image, self.image):
            raise BadInput(
                f"images are {tuple(image_BCHW.shape)}; this model is built for (batch, 3, {self.image}, {self.image})"
            )
        x_BLD = self.patch_embed(image_BCHW)
        cls_B1D = self.cls_token.expand(len(x_BLD), -1, -1).to(x_BLD.dtype)
        x_BLD = torch.cat([x_BLD, cls_B1D], 1) + self.pos_embed
        for layer in self.layers:
            if self.grad_checkpointing and torch.is_grad_enabled():
                x_BLD = checkpoint(layer, x_BLD, use_reentrant=False)
            else:
                x_BLD = layer(x_BLD)
        return self.norm_f(x_BLD)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep only what is between blocks and compute a block again on the way back: memory for time."""
        self.grad_checkpointing = enable

    def features(self, image_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """grid (B, D, h, w), contiguous, and the summary (B, D), which is the class token."""
        x_BLD = self.tokens(image_BCHW)
        grid_BDhw = x_BLD[:, :-1].transpose(1, 2).unflatten(-1, (self.grid, self.grid)).contiguous()
        return grid_BDhw, x_BLD[:, -1]

    def forward_features(self, image_BCHW: Tensor) -> Tensor:
        return self.tokens(image_BCHW)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return self.head(self.tokens(image_BCHW)[:, -1])


class AdventurerBackbone(nn.Module):
    """Adventurer without a classifier, under the contract of backbones: Features out, weights by name."""

    def __init__(
        self,
        size: Size,
        image: int,
        patch: int,
        *,
        flip: str = "released",
        drop_path: float = 0.0,
        position: str = "learned",
    ) -> None:
        super().__init__()
        self.net = Adventurer(size, image, patch, flip=flip, drop_path=drop_path, position=position)
        self.width, self.stride = size.width, patch

    def forward(self, image_BCHW: Tensor) -> Features:
        return Features(*self.net.features(image_BCHW))

    def initialise(self, seed: int) -> None:
        """Draw every weight from seed by its module's name."""
        initialise_by_name(self.net, seed, self.net.draw)

    @property
    def weights_module(self) -> nn.Module:
        """The module whose keys are those of the released checkpoints."""
        return self.net

    def fit_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Released keys for this patch and image: positions (class token last) and patch kernels resampled as timm
        does. Raises BadInput where the blocks are not as many."""
        kernel = state.get("patch_embed.proj.weight")
        depth = len({key.split(".")[1] for key in state if key.startswith("layers.")})
        if kernel is None or not depth:
            raise BadInput("these are not weights of an Adventurer: no patch_embed.proj.weight or no layers.N")
        if depth != len(self.net.layers):
            raise BadInput(f"these are weights of {depth} blocks; this Adventurer has {len(self.net.layers)}")
        state = dict(state)
        if kernel.ndim == 4 and kernel.shape[-1] != self.stride:
            state["patch_embed.proj.weight"] = resample_patch_embed(kernel, [self.stride, self.stride])
        if not isinstance(self.net.pos_embed, nn.Parameter):
            state.pop("pos_embed", None)
        elif "pos_embed" in state and state["pos_embed"].shape[1] != self.net.pos_embed.shape[1]:
            grid_1LD, cls_11D = state["pos_embed"][:, :-1], state["pos_embed"][:, -1:]
            if math.isqrt(grid_1LD.shape[1]) ** 2 != grid_1LD.shape[1]:
                raise BadInput(f"these weights have positions of {grid_1LD.shape[1]} patches, which is no square")
            grid_1LD = resample_abs_pos_embed(grid_1LD, [self.net.grid, self.net.grid], num_prefix_tokens=0)
            state["pos_embed"] = torch.cat([grid_1LD, cls_11D], 1)
        return state
