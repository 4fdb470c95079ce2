"""Position encodings: what tells a patch where it lies. A new encoding is a function here and a name in Recipe.

learned   a parameter a position, trunc_normal 0.02 (ViT, DeiT, Adventurer)
sincos    fixed sines and cosines of row and column (arXiv 2104.02057, appendix); defined at any grid
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.recipe import BadInput


def resample_as_released(pos_1LD: Tensor, grid: int) -> Tensor:
    """Positions (1, n * n + 1, D) at grid x grid, as the code released with Adventurer does (DeiT's): the first is kept
    as the class token's, the others are resampled (bicubic) as if they were the grid. Adventurer's class token is last,
    so its position ends up in the grid and every patch's one place too far: kept as a choice, not mended."""
    first_11D, rest_1LD = pos_1LD[:, :1], pos_1LD[:, 1:]
    side = math.isqrt(rest_1LD.shape[1])
    if side * side != rest_1LD.shape[1]:
        raise BadInput(f"these weights have {rest_1LD.shape[1]} positions and a class token's; that is no square")
    map_1Dhw = rest_1LD.transpose(1, 2).unflatten(2, (side, side))
    map_1Dhw = F.interpolate(map_1Dhw.float(), (grid, grid), mode="bicubic", align_corners=False).to(pos_1LD.dtype)
    return torch.cat([first_11D, map_1Dhw.flatten(2).transpose(1, 2)], 1)


def sincos_2d(height: int, width: int, channels: int, temperature: float = 10_000.0) -> Tensor:
    """(height * width, channels) fixed encoding, row-major; channels divisible by 4 (sine and cosine of x and of y)."""
    if channels % 4:
        raise ValueError(f"sincos needs channels divisible by 4, not {channels}")
    frequency_F = temperature ** -(torch.arange(channels // 4, dtype=torch.float64) / (channels // 4))
    y_hw, x_hw = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    angles = [coordinate.reshape(-1, 1) * frequency_F for coordinate in (x_hw, y_hw)]
    return torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], dim=1).float()
