"""Frequencies of RoPE [rad per patch of the first training], and what becomes of them at images of another length.

Sources: RoPE arXiv 2104.09864; its base for images (100) arXiv 2403.13298; interpolate arXiv 2306.15595; ntk: the base
is changed so that the fastest frequency stays and the slowest is interpolated (as stated in arXiv 2309.00071, section
3.1); yarn: NTK by parts with temperature, arXiv 2309.00071, sections 3.2 and 3.4.
F frequencies of an axis, E pairs of channels, of which each has a frequency along rows and one along columns.
"""

import math

import torch
from torch import Tensor

FEWEST_TURNS, MOST_TURNS = 1.0, 32.0  # yarn, alpha and beta: turns over the first grid of what is wholly interpolated,
# and of what stays


def axial_frequencies(channels: int, base: float) -> Tensor:
    """(2, E) float64: half of the pairs turn by the row, half by the column, each by base^(-k / F) for k = 0 to F - 1.
    channels: of a head, divisible by 4; E = channels / 2, F = channels / 4."""
    frequency_F = base ** -(torch.arange(channels // 4, dtype=torch.float64) / (channels // 4))
    none_F = torch.zeros_like(frequency_F)
    return torch.stack([torch.cat([frequency_F, none_F]), torch.cat([none_F, frequency_F])])


def transferred(frequency: Tensor, rule: str, scale: float, tokens: float) -> Tensor:
    """Frequencies along one axis (..., E) at an image `scale` times as long as that of the first training, whose grid
    has so many tokens along this axis. rule: one of TRANSFERS (scaling/config/attention_positions.py); ntk: of
    axial_frequencies. Images that are shorter are interpolated by ntk and yarn too, as these two only extend."""
    if rule == "extrapolate":
        return frequency
    if rule == "interpolate" or scale <= 1:
        return frequency / scale
    if rule == "ntk":
        bands = frequency.shape[-1] // 2
        share_F = torch.arange(bands, dtype=frequency.dtype, device=frequency.device) / (bands - 1)
        return frequency * (scale**-share_F).repeat(2)
    turns = tokens * frequency.abs() / (2 * math.pi)
    kept = ((turns - FEWEST_TURNS) / (MOST_TURNS - FEWEST_TURNS)).clamp(0, 1)
    return frequency * ((1 - kept) / scale + kept)


def temperature(rule: str, scale: float) -> float:
    """Factor of rotated queries and of rotated keys: yarn's 0.1 ln(scale) + 1, so that logits have its square."""
    return 0.1 * math.log(scale) + 1 if rule == "yarn" and scale > 1 else 1.0
