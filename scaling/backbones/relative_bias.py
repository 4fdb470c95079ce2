"""Relative biases: what is added to attention's logits depends on the offset of two patches, and on the head.

relative      a learned number per offset (timm: RelPosBias), with three more per head for class tokens as in BEiT
              (arXiv 2106.08254): from one to patches, from patches to one, between them. At another grid the numbers
              are interpolated (timm: resize_rel_pos_bias_table_simple)
relative_mlp  an MLP of the logarithm of the offset (arXiv 2111.09883, section 3.3; timm: RelPosMlp, mode "swin").
              Offsets count patches of the first training, so it is defined at any grid

Departs: one bias for all blocks, as the shared one of BEiT. L patches, T tokens, H heads, h w grid, y x offsets.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scaling.backbones.base import TokenLayout
from scaling.backbones.position_encoding import PositionEncoding, PositionSpec
from scaling.model_specs import BIAS_HIDDEN

FURTHEST = 8.0  # what the longest offset of the first training is for the MLP, before the logarithm to the same base
LIMIT = 8.0  # of the MLP's biases, on both sides of 0


def between_patches(bias_Hyx: Tensor) -> Tensor:
    """(H, L, L) for queries by keys, from the bias of every offset of a grid (H, 2 h - 1, 2 w - 1), the most negative
    first. No index of L x L is made: rows are windows of the offsets, read backwards."""
    h, w = ((n + 1) // 2 for n in bias_Hyx.shape[1:])
    windows_Hhwhw = bias_Hyx.flip(1, 2).unfold(1, h, 1).unfold(2, w, 1)
    return windows_Hhwhw.flip(1, 2).flatten(3, 4).flatten(1, 2)


class RelativeTable(PositionEncoding):
    """A learned bias per head and offset."""

    def __init__(self, spec: PositionSpec) -> None:
        super().__init__(spec)
        side = 2 * spec.grid - 1
        self.offsets_Hyx = nn.Parameter(torch.empty(spec.heads, side, side))
        self.class_tokens_H3 = nn.Parameter(torch.empty(spec.heads, 3))

    def reset_parameters(self) -> None:
        for parameter in (self.offsets_Hyx, self.class_tokens_H3):
            nn.init.trunc_normal_(parameter, std=0.02)

    def bias(self, layout: TokenLayout) -> Tensor:
        assert layout.grid is not None
        bias_HLL = between_patches(resized(self.offsets_Hyx, layout.grid))
        first, last = layout.leading, layout.trailing
        key_T = F.pad(torch.ones(bias_HLL.shape[1], dtype=torch.bool, device=bias_HLL.device), (first, last))
        query_T1 = key_T.unsqueeze(1)  # these are patches
        which_TT = torch.where(query_T1, 1, torch.where(key_T, 0, 2))
        others_HTT = self.class_tokens_H3[:, which_TT]
        return torch.where(query_T1 & key_T, F.pad(bias_HLL, (first, last, first, last)), others_HTT).unsqueeze(0)

    @torch.no_grad()
    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        if "offsets_Hyx" not in state:
            return state
        return {**state, "offsets_Hyx": resized(state["offsets_Hyx"], (self.spec.grid, self.spec.grid))}


def resized(bias_Hyx: Tensor, grid: tuple[int, int]) -> Tensor:
    """Biases of all offsets, interpolated (bicubic) to those of another grid (H, 2 h - 1, 2 w - 1)."""
    sides = [2 * n - 1 for n in grid]
    if list(bias_Hyx.shape[1:]) == sides:
        return bias_Hyx
    return F.interpolate(bias_Hyx.unsqueeze(0), sides, mode="bicubic", align_corners=False)[0]


class RelativeMlp(PositionEncoding):
    """8 tanh(MLP / 2) of the offset; nothing for class tokens.

    Departs: of Swin V2's 16 sigmoid(MLP) = 8 tanh(MLP / 2) + 8 the constant is left out. Between patches it changes
    nothing; here it would separate them from the class token, which Swin does not have."""

    def __init__(self, spec: PositionSpec) -> None:
        super().__init__(spec)
        self.weight_M2 = nn.Parameter(torch.empty(BIAS_HIDDEN, 2))
        self.bias_M = nn.Parameter(torch.empty(BIAS_HIDDEN))
        self.weight_HM = nn.Parameter(torch.empty(spec.heads, BIAS_HIDDEN))

    def reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.weight_M2, std=0.02)
        nn.init.zeros_(self.bias_M)
        nn.init.trunc_normal_(self.weight_HM, std=0.02)

    def bias(self, layout: TokenLayout) -> Tensor:
        assert layout.grid is not None
        bias_HLL = between_patches(self.of_offsets(layout.grid, layout.patch_px))
        first, last = layout.leading, layout.trailing
        return F.pad(bias_HLL, (first, last, first, last)).unsqueeze(0)

    def of_offsets(self, grid: tuple[int, int], patch_px: int) -> Tensor:
        """(H, 2 h - 1, 2 w - 1)."""
        reference, number = self.spec.reference, self.weight_M2
        unit = FURTHEST * patch_px / reference.patch / max(reference.grid - 1, 1)
        axes = [torch.arange(1 - n, n, device=number.device, dtype=number.dtype) * unit for n in grid]
        offset_yx2 = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
        log_yx2 = offset_yx2.sign() * (1 + offset_yx2.abs()).log2() / torch.tensor(FURTHEST).log2().item()
        hidden_yxM = F.linear(log_yx2, self.weight_M2, self.bias_M).relu()
        return (LIMIT * (F.linear(hidden_yxM, self.weight_HM) / 2).tanh()).permute(2, 0, 1)
