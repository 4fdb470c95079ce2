"""Patch embeddings: how pixels become tokens. A new embedding is a class here and a field of Recipe.

scaling     a convolution whose kernel and stride are the patch: smaller patches, more tokens, all from pixels
extending   the same at a larger patch, its tokens then interpolated: as many tokens, no new pixels (Table 5 of
            arXiv 2502.03738 compares the two)
"""

import torch.nn.functional as F
from torch import Tensor, nn

from scaling.recipe import BadInput


class ExtendedConv2d(nn.Conv2d):
    """A patch convolution (B, C, H, W) whose map is interpolated (bicubic) to grid x grid. Keys are those of Conv2d."""

    def __init__(self, channels: int, width: int, patch: int, grid: int) -> None:
        super().__init__(channels, width, patch, patch)
        self.grid = grid

    def forward(self, image_BCHW: Tensor) -> Tensor:
        map_BDhw = super().forward(image_BCHW)
        return F.interpolate(map_BDhw, (self.grid, self.grid), mode="bicubic", align_corners=False)


def embedding(channels: int, width: int, image: int, patch: int, extend: int = 0) -> nn.Conv2d:
    """Images to maps of (image / patch)^2 tokens. extend: the larger patch to embed at [px]; 0: at patch itself."""
    if not extend:
        return nn.Conv2d(channels, width, patch, patch)
    if extend < patch:
        raise BadInput(
            f"extend {extend} is below patch {patch}: a sequence is extended from a larger patch, such as 16"
        )
    return ExtendedConv2d(channels, width, extend, image // patch)
