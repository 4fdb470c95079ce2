"""Sines and cosines of where patches lie (arXiv 2104.02057, appendix), as a function of coordinates.

Coordinates are in units of the tokens of the grid of the first training (Reference), by one of COORDINATES:
place     where in the image a patch's centre lies: right where the image was resized or the patch size changed
pixels    distance of the centre from the corner in pixels: right where more of a scene is visible at the same scale.
          A token's position then does not depend on the size its image was padded to, so not on others in its batch
index     index of the patch along the side
h w grid.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from scaling.config.fields import check_name

COORDINATES = ("place", "pixels", "index")
CACHED = 4  # tables of other grids that are kept: images of one size follow each other


class Reference(NamedTuple):
    """The unit of coordinates: grid (a side [tokens]) and patch [px] of the first training."""

    grid: int
    patch: int


def coordinates(n: int, n0: int, kind: str = "place", scale: float = 1.0) -> Tensor:
    """(n,) float64: where the patches along a side of n lie, in tokens of a grid of n0. At n = n0 and scale 1 they are
    0, 1, 2 and so on, whatever the kind. scale: patch size now over patch size then, for the kind pixels."""
    check_name("kind of coordinates", kind, COORDINATES)
    index_n = torch.arange(n, dtype=torch.float64)
    if kind == "index":
        return index_n
    return (index_n + 0.5) * (n0 / n if kind == "place" else scale) - 0.5


def sincos_2d(y_h: Tensor, x_w: Tensor, channels: int, temperature: float = 10_000.0) -> Tensor:
    """(h * w, channels) fixed encoding of rows at y_h and columns at x_w, row-major; channels divisible by 4 (sine and
    cosine of x and of y). Computed in float64, also under autocast; float32 at the end."""
    if channels % 4:
        raise ValueError(f"sincos needs channels divisible by 4, not {channels}")
    frequency_F = temperature ** -(torch.arange(channels // 4, dtype=torch.float64) / (channels // 4))
    angles = [u.double().view(-1, 1) * frequency_F for u in (x_w, y_h)]
    x_wE, y_hE = (torch.cat([angle_nF.sin(), angle_nF.cos()], 1).float() for angle_nF in angles)
    h, w = len(y_hE), len(x_wE)
    return torch.cat([x_wE.expand(h, -1, -1), y_hE.view(h, 1, -1).expand(-1, w, -1)], 2).flatten(0, 1)


class Sines:
    """Tables of sincos_2d at any grid, for patches of `patch` px. kind: one of COORDINATES."""

    def __init__(self, channels: int, patch: int, reference: Reference, kind: str = "place") -> None:
        self.channels, self.patch, self.reference, self.kind = channels, patch, reference, kind
        self._tables: dict[tuple, Tensor] = {}

    def table(self, grid: tuple[int, int]) -> Tensor:
        """(h * w, channels) float32 on the CPU."""
        n0, scale = self.reference.grid, self.patch / self.reference.patch
        with torch.device("cpu"):
            y_h, x_w = (coordinates(n, n0, self.kind, scale) for n in grid)
            return sincos_2d(y_h, x_w, self.channels)

    @torch.compiler.disable
    def like(self, grid: tuple[int, int], own: Tensor) -> Tensor:
        """The table on the device and in the dtype of own; the last CACHED are kept."""
        key = (grid, self.kind, own.device, own.dtype, torch.is_inference_mode_enabled())
        if key not in self._tables:
            if len(self._tables) >= CACHED:
                del self._tables[next(iter(self._tables))]  # the oldest
            self._tables[key] = self.table(grid).to(own.device, own.dtype)
        return self._tables[key]
