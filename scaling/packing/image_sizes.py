"""Sizes of packed images: which size a training image is resized to, and the grid of patches nearest to that.

arXiv 2307.06304 draws the square root of the area from U(64, 256) (appendix A.1) and keeps the aspect ratio; how it
rounds to whole patches is not stated: here each side is rounded to the nearest number of patches, at least one.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from scaling.config.packing import SequencePacking, SizeRange, parse_sizes

SD = 1.0  # of the normal distribution, where the range is from -1 to 1


def drawn_sizes(packing: SequencePacking, uniform_B: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Sizes [px] at these numbers in [0, 1), by the inverse of their distribution function; None: the images' own."""
    sizes = parse_sizes(packing.image_sizes)
    if not sizes:
        return None
    if not isinstance(sizes, SizeRange):
        return np.array(sizes, float)[(uniform_B * len(sizes)).astype(np.int64)]
    share_B = uniform_B
    if packing.size_distribution == "truncated_normal":
        low, high = (ndtr((end - packing.size_mean) / SD) for end in (-1.0, 1.0))
        share_B = (packing.size_mean + SD * ndtri(low + uniform_B * (high - low)) + 1) / 2
    return sizes[0] + (sizes[1] - sizes[0]) * np.clip(share_B, 0.0, 1.0)


def fitted_grid(
    height: int, width: int, patch_px: int, most_tokens: int, size: float | None = None, measure: str = "area"
) -> tuple[int, int]:
    """Rows and columns of patches of an image of height x width px that is resized to a size [px] (None: its own) with
    its aspect ratio kept, to whole patches; reduced where these would be more than most_tokens. measure: what size is:
    area (its square root) or side (the shorter one)."""
    scale = 1.0
    if size is not None:
        scale = size / (math.sqrt(height * width) if measure == "area" else min(height, width))
    h, w = (max(1, math.floor(side * scale / patch_px + 0.5)) for side in (height, width))
    if h * w <= most_tokens:
        return h, w
    scale = math.sqrt(most_tokens * patch_px**2 / (height * width))
    h, w = (max(1, math.floor(side * scale / patch_px + 1e-9)) for side in (height, width))
    return min(h, most_tokens // w if h > w else h), min(w, most_tokens // h if w >= h else w)
