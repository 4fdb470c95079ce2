"""The contract of a position encoding, and what it is built for; the encodings are in pos_embed.py, rope.py and
relative_bias.py.

B batch, T tokens (L patches and class tokens), D width, H heads, P channels of a head.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from scaling.backbones.base import TokenLayout
from scaling.backbones.sincos import Reference


class PositionSpec(NamedTuple):
    """Dimensions that an encoding is built for."""

    width: int  # D
    heads: int  # of attention; 0: the backbone has no attention
    grid: int  # side of the training image's grid [tokens]
    patch_px: int  # [px]
    reference: Reference  # grid and patch that coordinates are measured in
    depth: int = 0  # blocks
    state: int = 0  # size of the state of a scan; 0: the backbone has no scan

    @property
    def head_channels(self) -> int:
        """Channels of a head of attention; all channels where there is no attention."""
        return self.width // max(self.heads, 1)


class PositionEncoding(nn.Module):
    """Base of all encodings: every method here does nothing. Rows of tokens include class tokens: see
    `TokenLayout.leading`, `trailing` and `padded`."""

    has_table: bool = False  # whether the backbone stores a vector per token, as `pos_embed` (1, T, D)

    def __init__(self, spec: PositionSpec) -> None:
        super().__init__()
        self.spec = spec

    @property
    def table_side(self) -> int:
        """Side of the grid of the stored table [vectors]."""
        return self.spec.grid

    def fixed_table(self) -> Tensor | None:
        """Values of the stored table for the patches (L, D), float32 on the CPU; None: they are learned."""
        return None

    def reset_parameters(self) -> None:
        """Draw the encoding's own parameters, if it has any."""

    def add(self, x_BTD: Tensor, layout: TokenLayout, table_1TD: Tensor | None) -> Tensor:
        """Tokens with their positions added. table_1TD: what the backbone stores, None where there is no table."""
        return x_BTD

    def rotate(self, q_BHTP: Tensor, k_BHTP: Tensor, layout: TokenLayout, block: int) -> tuple[Tensor, Tensor]:
        """Queries and keys of a block, before their product."""
        return q_BHTP, k_BHTP

    def bias(self, layout: TokenLayout) -> Tensor | None:
        """Bias of attention's logits in all blocks (B or 1, H, T, T), of images of one grid; None: no bias."""
        return None

    def scan_turns(self, layout: TokenLayout, dtype: torch.dtype) -> Tensor | None:
        """Rotations of B and C of the scans of all blocks, complex (1, T, E) with the real part's dtype, or of packed
        images (R, S, E), for E pairs of the state; None: none."""
        return None

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The encoding's own parameters of a checkpoint, by their names here, at this grid."""
        return state

    @property
    def rotates(self) -> bool:
        """Whether `rotate` is overridden."""
        return type(self).rotate is not PositionEncoding.rotate

    @property
    def needs_attention(self) -> bool:
        """Whether the encoding acts inside attention, which not every backbone has."""
        return self.rotates or type(self).bias is not PositionEncoding.bias

    @property
    def needs_scan(self) -> bool:
        """Whether the encoding acts inside a scan, which not every backbone has."""
        return type(self).scan_turns is not PositionEncoding.scan_turns
