"""RoPE in two dimensions: neighbouring channels of queries and keys are turned by an angle that is linear in row and
column, so that their product depends on the offset of two patches alone (arXiv 2104.09864, 2403.13298).

rope        half of the pairs turn by the row, half by the column (timm: RotaryEmbeddingCat, in_pixels=False)
rope_mixed  frequencies along both axes are learned, per block, head and pair (timm: RotaryEmbeddingMixed)

Row and column count patches of the first training, so a patch of half the side moves by a half; class tokens are not
turned. Images longer than those of the first training: rope_frequencies.py. A turn is a complex number.
B batch, T tokens (L patches and class tokens), H heads, P channels of a head, E = P / 2 pairs, R rows, S places.
"""

from collections.abc import Hashable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from scaling.backbones.base import TokenLayout
from scaling.backbones.position_encoding import PositionEncoding, PositionSpec
from scaling.backbones.rope_frequencies import axial_frequencies, temperature, transferred
from scaling.backbones.sincos import coordinates
from scaling.errors import ConfigError
from scaling.packing.packed_rows import PackedRows, pyramid

Grid = tuple[int, int]
CACHED = 4  # grids, or batches of packed images, whose turns are kept: images of one size follow each other


class Rope(PositionEncoding):
    """Base of both: a subclass has `frequencies`."""

    def __init__(self, spec: PositionSpec, rope_transfer: str) -> None:
        """rope_transfer: one of TRANSFERS (scaling/config/attention_positions.py). Raises ConfigError for channels that
        do not come in fours."""
        super().__init__(spec)
        if spec.head_channels % 4:
            raise ConfigError(f"RoPE needs heads of channels divisible by 4, not {spec.head_channels}")
        if rope_transfer == "ntk" and spec.head_channels < 8:
            raise ConfigError(
                f"rope_transfer ntk needs two frequencies along an axis, so heads of 8 channels or more, not "
                f"{spec.head_channels}; interpolate takes any"
            )
        self.rope_transfer = rope_transfer

    def frequencies(self, block: int) -> Tensor:
        """(2, H or 1, E): along rows and along columns [rad per patch of the first training]."""
        raise NotImplementedError

    def rotate(self, q_BHTP: Tensor, k_BHTP: Tensor, layout: TokenLayout, block: int) -> tuple[Tensor, Tensor]:
        turns = self.turns(layout, block, torch.promote_types(q_BHTP.dtype, torch.float32))
        return turned(q_BHTP, turns), turned(k_BHTP, turns)

    def turns(self, layout: TokenLayout, block: int, dtype: torch.dtype) -> Tensor:
        """Complex (H or 1, T, E), or of packed images (R, H or 1, S, E), of the real part's dtype."""
        frequency_2HE = self.frequencies(block).to(layout.device)
        if layout.rows is not None:
            return self._in_rows(layout.rows, layout, frequency_2HE, dtype)
        assert layout.grid is not None
        patches_HLE = self._of_grid(layout.grid, layout, frequency_2HE, dtype)
        ends = [
            patches_HLE.new_full((len(patches_HLE), n, patches_HLE.shape[2]), self._factor(layout.grid, layout))
            for n in (layout.leading, layout.trailing)
        ]
        return torch.cat([ends[0], patches_HLE, ends[1]], 1)

    def _of_grid(self, grid: Grid, layout: TokenLayout, frequency_2HE: Tensor, dtype: torch.dtype) -> Tensor:
        """Turns of the patches of an image, complex (H or 1, L, E)."""
        reference, number, angles = self.spec.reference, frequency_2HE.dtype, []
        for axis, n in enumerate(grid):
            place_n = coordinates(n, reference.grid, "pixels", layout.patch_px / reference.patch)
            scale = self._scale(n, layout)
            frequency_HE = transferred(frequency_2HE[axis], self.rope_transfer, scale, reference.grid)
            angles.append(place_n.to(layout.device, number).view(1, -1, 1) * frequency_HE.unsqueeze(1))
        angle_HLE = (angles[0].unsqueeze(2) + angles[1].unsqueeze(1)).flatten(1, 2)
        factor = self._factor(grid, layout)
        return torch.complex((factor * angle_HLE.cos()).to(dtype), (factor * angle_HLE.sin()).to(dtype))

    def _scale(self, n: int, layout: TokenLayout) -> float:
        """Length of n patches over that of the first training's image."""
        return n * layout.patch_px / (self.spec.reference.grid * self.spec.reference.patch)

    def _factor(self, grid: Grid, layout: TokenLayout) -> float:
        return temperature(self.rope_transfer, max(self._scale(n, layout) for n in grid))

    def _in_rows(self, rows: PackedRows, layout: TokenLayout, frequency_2HE: Tensor, dtype: torch.dtype) -> Tensor:
        """(R, H or 1, S, E): each image as if it were alone; zeros in padding."""
        grids, device = sorted(set(rows.grids)), layout.device
        each = [(one, self._at_size(layout, grid, one)) for grid in grids for one in pyramid(grid, rows.levels)]
        of_grids_HXE = torch.cat([self._of_grid(grid, its, frequency_2HE, dtype) for grid, its in each], 1)
        counts = [sum(h * w for h, w in pyramid(grid, rows.levels)) for grid in grids]
        firsts = dict(zip(grids, np.cumsum([0, *counts[:-1]]).tolist(), strict=True))
        at_L = torch.from_numpy(rows.indices_L([firsts[grid] for grid in rows.grids])).to(device)
        of_patches_LX = of_grids_HXE.index_select(1, at_L).transpose(0, 1).flatten(1)
        turns_RSX = rows.on(device).patches_to_rows(of_patches_LX)
        factor_N = of_patches_LX.new_tensor([self._factor(grid, layout) for grid in rows.grids]).unsqueeze(1)
        for number in range(layout.leading + layout.trailing):
            at_N = torch.from_numpy(rows.class_tokens_N(number)).to(device)
            flat = turns_RSX.flatten(0, 1)
            turns_RSX = flat.index_copy(0, at_N, factor_N.expand(-1, flat.shape[1])).view_as(turns_RSX)
        return turns_RSX.unflatten(2, (len(of_grids_HXE), -1)).transpose(1, 2)

    def _at_size(self, layout: TokenLayout, finest: Grid, grid: Grid) -> TokenLayout:
        """The layout of the patches of one of an image's grids."""
        return replace(layout, patch_px=layout.patch_px * (finest[0] // grid[0]))


class AxialRope(Rope):
    """Frequencies base^(-k / F) along rows for half of the channels, along columns for the others."""

    def __init__(self, spec: PositionSpec, rope_base: float = 100.0, rope_transfer: str = "interpolate") -> None:
        super().__init__(spec, rope_transfer)
        self._frequency_21E = axial_frequencies(spec.head_channels, rope_base).unsqueeze(1)
        self._kept: dict[Hashable, Tensor] = {}

    def frequencies(self, block: int) -> Tensor:
        return self._frequency_21E

    @torch.compiler.disable
    def turns(self, layout: TokenLayout, block: int, dtype: torch.dtype) -> Tensor:
        """They are the same in all blocks, and kept."""
        what = layout.rows or (layout.grid, layout.leading, layout.trailing)
        key = (what, layout.patch_px, layout.device, dtype, torch.is_inference_mode_enabled())
        if key not in self._kept:
            if len(self._kept) >= CACHED:
                del self._kept[next(iter(self._kept))]  # the oldest
            self._kept[key] = super().turns(layout, block, dtype)
        return self._kept[key]


class MixedRope(Rope):
    """Learned frequencies. At the start those of a head are RoPE's along two axes at right angles, turned at random."""

    def __init__(self, spec: PositionSpec, rope_base: float = 10.0, rope_transfer: str = "interpolate") -> None:
        super().__init__(spec, rope_transfer)
        self.rope_base = rope_base
        self.frequency_N2HE = nn.Parameter(torch.empty(spec.depth, 2, spec.heads, spec.head_channels // 2))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """As in the code of arXiv 2403.13298."""
        bands = self.spec.head_channels // 4
        length_F = self.rope_base ** -(torch.arange(bands) / bands)
        turn_NH1 = 2 * torch.pi * torch.rand(self.spec.depth, self.spec.heads, 1)
        angles = (turn_NH1, turn_NH1 + torch.pi / 2)
        axes = [torch.cat([length_F * f(angle) for angle in angles], -1) for f in (torch.cos, torch.sin)]
        self.frequency_N2HE.copy_(torch.stack(axes, 1))

    def frequencies(self, block: int) -> Tensor:
        return self.frequency_N2HE[block]


def turned(x_BHTP: Tensor, turns: Tensor) -> Tensor:
    """Neighbouring channels as complex numbers, times turns (..., H or 1, T, E); the dtype of x."""
    pairs_BHTE = torch.view_as_complex(x_BHTP.to(turns.real.dtype).unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs_BHTE * turns).flatten(-2).to(x_BHTP.dtype)
