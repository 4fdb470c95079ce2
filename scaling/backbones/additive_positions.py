"""Position encodings that are functions of a patch's coordinates, added to its token. They are defined for any grid,
and for packed images of any sizes; class tokens have none.

none        no positions
sincos1d    fixed sines and cosines of the place in the raster order (arXiv 1706.03762)
factorized  a learned vector of the row plus one of the column (NaViT, arXiv 2307.06304, section 2.1)
fourier     sines and cosines at learned frequencies, and a linear layer (arXiv 2106.02795, without its MLP)

Coordinates (words of NaViT): absolute, in patches of the first training; fractional, shares of the image's sides;
fractional_ar, shares of its longer side, so that the aspect ratio is kept. L patches of all images, D width, n vectors
of a table.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scaling.backbones.base import TokenLayout
from scaling.backbones.position_encoding import PositionEncoding, PositionSpec
from scaling.config.additive_positions import COORDINATES
from scaling.config.fields import check_name
from scaling.errors import ConfigError


class NoPositions(PositionEncoding):
    """Tokens as they are."""


class CoordinatePositions(PositionEncoding):
    """Base of encodings of coordinates: a subclass has `encode`."""

    def __init__(self, spec: PositionSpec, position_coordinates: str) -> None:
        super().__init__(spec)
        check_name("position_coordinates", position_coordinates, COORDINATES)
        self.position_coordinates = position_coordinates

    def encode(self, u_L2: Tensor) -> Tensor:
        """Vectors (L, D) of rows and columns, float32."""
        raise NotImplementedError

    def coordinates(self, layout: TokenLayout) -> Tensor:
        """(L, 2) of the centres of patches. absolute: the first patch of the first training is at 0."""
        if self.position_coordinates == "fractional":
            return layout.coords_BL2[0]
        centre_L2 = layout.centres_BL2[0]
        if self.position_coordinates == "fractional_ar":
            return centre_L2 / layout.sides_BL2[0].amax(1, keepdim=True)
        return centre_L2 * (layout.patch_px / self.spec.reference.patch) - 0.5

    def add(self, x_BTD: Tensor, layout: TokenLayout, table_1TD: Tensor | None) -> Tensor:
        found_LD = self.encode(self.coordinates(layout)).to(x_BTD.dtype)
        return x_BTD + layout.padded(found_LD.unsqueeze(0))


class SinCos1d(CoordinatePositions):
    """Of row * columns + column, at the grid of the first training."""

    def __init__(self, spec: PositionSpec) -> None:
        super().__init__(spec, "fractional")
        if spec.width % 2:
            raise ConfigError(f"pos_embed sincos1d needs an even width, not {spec.width}")

    def encode(self, u_L2: Tensor) -> Tensor:
        columns, half = self.spec.reference.grid, self.spec.width // 2
        y_L, x_L = (u_L2.double() * columns - 0.5).unbind(1)
        frequency_F = 10_000.0 ** -(torch.arange(half, dtype=torch.float64, device=u_L2.device) / half)
        angle_LF = (y_L * columns + x_L).unsqueeze(1) * frequency_F
        return torch.cat([angle_LF.sin(), angle_LF.cos()], 1)


class Factorized(CoordinatePositions):
    """Between the vectors of a table positions are interpolated (linear)."""

    def __init__(self, spec: PositionSpec, position_coordinates: str = "absolute", max_side: int = 64) -> None:
        """max_side: n. Raises ConfigError for a longer grid, where coordinates are absolute."""
        super().__init__(spec, position_coordinates)
        self.rows, self.columns = (nn.Parameter(torch.empty(max_side, spec.width)) for _ in range(2))
        self._check(spec.grid * spec.patch_px / spec.reference.patch)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        for table_nD in (self.rows, self.columns):
            nn.init.trunc_normal_(table_nD, std=0.02)

    def add(self, x_BTD: Tensor, layout: TokenLayout, table_1TD: Tensor | None) -> Tensor:
        grids = layout.rows.grids if layout.rows is not None else (layout.grid or (0, 0),)
        self._check(max(max(grid) for grid in grids) * layout.patch_px / self.spec.reference.patch)
        return super().add(x_BTD, layout, table_1TD)

    def encode(self, u_L2: Tensor) -> Tensor:
        if self.position_coordinates != "absolute":
            u_L2 = u_L2 * len(self.rows) - 0.5
        return between(self.rows, u_L2[:, 0]) + between(self.columns, u_L2[:, 1])

    def _check(self, side: float) -> None:
        """side: of an image, in patches of the first training."""
        if self.position_coordinates == "absolute" and side > len(self.rows):
            raise ConfigError(
                f"an image has a side of {math.ceil(side)} patches, and factorized positions have max_side "
                f"{len(self.rows)}: a larger one, or --position-coordinates fractional"
            )


class Fourier(CoordinatePositions):
    """Frequencies are per side of the image of the first training, whatever the coordinates."""

    def __init__(self, spec: PositionSpec, position_coordinates: str = "fractional", fourier_std: float = 1.0) -> None:
        """fourier_std: of the frequencies at the start [periods]. Raises ConfigError for an odd width."""
        super().__init__(spec, position_coordinates)
        if spec.width % 2:
            raise ConfigError(f"pos_embed fourier needs an even width, not {spec.width}")
        self.std = fourier_std
        self.frequency = nn.Parameter(torch.empty(spec.width // 2, 2))
        # Not nn.Linear, which each backbone draws in its own way.
        self.weight = nn.Parameter(torch.empty(spec.width, spec.width))
        self.offset = nn.Parameter(torch.empty(spec.width))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        nn.init.normal_(self.frequency, std=self.std)
        nn.init.trunc_normal_(self.weight, std=0.02)
        nn.init.zeros_(self.offset)

    def encode(self, u_L2: Tensor) -> Tensor:
        if self.position_coordinates == "absolute":
            u_L2 = (u_L2 + 0.5) / self.spec.reference.grid
        angle_LF = 2 * math.pi * F.linear(u_L2.to(self.frequency.dtype), self.frequency)
        return F.linear(torch.cat([angle_LF.sin(), angle_LF.cos()], 1), self.weight, self.offset)


def between(table_nD: Tensor, u_L: Tensor) -> Tensor:
    """Rows (L, D) of a table at real numbers, interpolated (linear); outside it the first or the last one."""
    u_L = u_L.clamp(0, len(table_nD) - 1)
    below_L = u_L.floor()
    share_L1 = (u_L - below_L).unsqueeze(1).to(table_nD.dtype)
    above_L = (below_L + 1).clamp(max=len(table_nD) - 1).long()
    return torch.lerp(table_nD[below_L.long()], table_nD[above_L], share_L1)
