"""Position encodings: what tells a patch where it lies. A new encoding is a function here and a name in Recipe.

learned   a parameter a position, trunc_normal 0.02 (ViT, DeiT, Adventurer)
sincos    fixed sines and cosines of row and column (arXiv 2104.02057, appendix); defined at any grid
"""

import torch
from torch import Tensor


def sincos_2d(height: int, width: int, channels: int, temperature: float = 10_000.0) -> Tensor:
    """(height * width, channels) fixed encoding, row-major; channels divisible by 4 (sine and cosine of x and of y)."""
    if channels % 4:
        raise ValueError(f"sincos needs channels divisible by 4, not {channels}")
    frequency_F = temperature ** -(torch.arange(channels // 4, dtype=torch.float64) / (channels // 4))
    y_hw, x_hw = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    angles = [coordinate.reshape(-1, 1) * frequency_F for coordinate in (x_hw, y_hw)]
    return torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], dim=1).float()
