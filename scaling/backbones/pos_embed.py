"""Position encodings: what tells a patch where it lies. A new encoding is a function here and a name in Recipe.

learned   a parameter a position, trunc_normal 0.02 (ViT, DeiT, Adventurer)
sincos    fixed sines and cosines of row and column (arXiv 2104.02057, appendix): a function of coordinates, evaluated
          anew at every grid, never resampled

Coordinates are in units of the tokens of the grid that was trained at first (Reference), by one of MEANINGS:
place     where in the image a patch's centre lies: right where the image was resized or the patch is another
pixels    how many pixels the centre lies from the corner: right where more of a scene is seen at the same scale. Then a
          token's position does not depend on what its image was filled up to, so not on others in its batch
index     the how manieth patch it is
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.errors import ConfigError
from scaling.recipe import check_name


def resample_as_released(pos_1LD: Tensor, grid: int) -> Tensor:
    """Positions (1, n * n + 1, D) at grid x grid, as the code released with Adventurer does (DeiT's): the first is kept
    as the class token's, the others are resampled (bicubic) as if they were the grid. Adventurer's class token is last,
    so its position ends up in the grid and every patch's one place too far: kept as a choice, not mended."""
    first_11D, rest_1LD = pos_1LD[:, :1], pos_1LD[:, 1:]
    side = math.isqrt(rest_1LD.shape[1])
    if side * side != rest_1LD.shape[1]:
        raise ConfigError(f"these weights have {rest_1LD.shape[1]} positions and a class token's; that is no square")
    map_1Dhw = rest_1LD.transpose(1, 2).unflatten(2, (side, side))
    map_1Dhw = F.interpolate(map_1Dhw.float(), (grid, grid), mode="bicubic", align_corners=False).to(pos_1LD.dtype)
    return torch.cat([first_11D, map_1Dhw.flatten(2).transpose(1, 2)], 1)


MEANINGS = ("place", "pixels", "index")
KEPT = 4  # tables of other grids that are remembered: images of one size come after each other


class Reference(NamedTuple):
    """What positions are measured in: the grid (a side [tokens]) and the patch [px] of the first training."""

    grid: int
    patch: int


def coordinates(n: int, n0: int, meaning: str = "place", scale: float = 1.0) -> Tensor:
    """(n,) float64: where the patches along a side of n lie, in tokens of a grid of n0. At n = n0 and scale 1 they are
    0, 1, 2 and so on, whatever the meaning. scale: the patch now over the patch then, for the meaning pixels."""
    check_name("meaning of positions", meaning, MEANINGS)
    index_n = torch.arange(n, dtype=torch.float64)
    if meaning == "index":
        return index_n
    return (index_n + 0.5) * (n0 / n if meaning == "place" else scale) - 0.5


def sincos_2d(y_h: Tensor, x_w: Tensor, channels: int, temperature: float = 10_000.0) -> Tensor:
    """(h * w, channels) fixed encoding of rows at y_h and columns at x_w, row-major; channels divisible by 4 (sine and
    cosine of x and of y). In float64, whatever autocast says; float32 at the end."""
    if channels % 4:
        raise ValueError(f"sincos needs channels divisible by 4, not {channels}")
    frequency_F = temperature ** -(torch.arange(channels // 4, dtype=torch.float64) / (channels // 4))
    angles = [u.double().view(-1, 1) * frequency_F for u in (x_w, y_h)]
    x_wE, y_hE = (torch.cat([angle_nF.sin(), angle_nF.cos()], 1).float() for angle_nF in angles)
    h, w = len(y_hE), len(x_wE)
    return torch.cat([x_wE.expand(h, -1, -1), y_hE.view(h, 1, -1).expand(-1, w, -1)], 2).flatten(0, 1)


class Sines:
    """The sincos encoding of a backbone at any grid. meaning: one of MEANINGS."""

    def __init__(self, channels: int, patch: int, reference: Reference, meaning: str = "place") -> None:
        self.channels, self.patch, self.reference, self.meaning = channels, patch, reference, meaning
        self._kept: dict[tuple, Tensor] = {}

    def table(self, grid: tuple[int, int]) -> Tensor:
        """(h * w, channels) float32 on the CPU."""
        n0, scale = self.reference.grid, self.patch / self.reference.patch
        with torch.device("cpu"):
            y_h, x_w = (coordinates(n, n0, self.meaning, scale) for n in grid)
            return sincos_2d(y_h, x_w, self.channels)

    @torch.compiler.disable
    def like(self, grid: tuple[int, int], own: Tensor) -> Tensor:
        """The table where own is and of its dtype; remembered."""
        key = (grid, self.meaning, own.device, own.dtype, torch.is_inference_mode_enabled())
        if key not in self._kept:
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]  # the oldest
            self._kept[key] = self.table(grid).to(own.device, own.dtype)
        return self._kept[key]
