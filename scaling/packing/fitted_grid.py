"""The grid of patches of a packed image of any size and shape.

arXiv 2307.06304 keeps the aspect ratio; how it rounds to whole patches is not stated: here each side is rounded to the
nearest number of patches, at least one.
"""

import math


def fitted_grid(
    height: float, width: float, patch_px: int, size: float | None = None, measure: str = "area"
) -> tuple[int, int]:
    """Rows and columns of patches of an image of height x width px that is resized to a size [px] (None: its own) with
    its aspect ratio kept, to whole patches. measure: what size is: area (its square root) or side (the shorter
    one)."""
    scale = 1.0
    if size is not None:
        scale = size / (math.sqrt(height * width) if measure == "area" else min(height, width))
    h, w = (max(1, math.floor(side * scale / patch_px + 0.5)) for side in (height, width))
    return h, w


def reduced_grid(height: float, width: float, patch_px: int, most_tokens: int) -> tuple[int, int]:
    """The largest grid of at most most_tokens patches that keeps the aspect ratio, sides rounded down."""
    scale = math.sqrt(most_tokens * patch_px**2 / (height * width))
    h, w = (max(1, math.floor(side * scale / patch_px + 1e-9)) for side in (height, width))
    return min(h, most_tokens // w if h > w else h), min(w, most_tokens // h if w >= h else w)
