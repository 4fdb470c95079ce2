"""Patch embeddings: how pixels become tokens. A new embedding is a class here and a field of Recipe.

scaling     a convolution whose kernel and stride are the patch: smaller patches, more tokens, all from pixels
extending   the same at a larger patch, its tokens then interpolated: as many tokens, no new pixels (Table 5 of
            arXiv 2502.03738 compares the two)
"""

import torch.nn.functional as F
from torch import Tensor, nn

from scaling.errors import ConfigError


class ExtendedConv2d(nn.Conv2d):
    """A convolution of patches of `extend` px whose map is interpolated (bicubic) to as many tokens as patches of
    `patch` px would give. Keys are those of Conv2d."""

    def __init__(self, channels: int, width: int, extend: int, patch: int) -> None:
        super().__init__(channels, width, extend, extend)
        self.patch = patch

    def forward(self, image_BCHW: Tensor) -> Tensor:
        grid = check_image(image_BCHW, self.patch)
        check_image(image_BCHW, self.kernel_size[0])
        return F.interpolate(super().forward(image_BCHW), grid, mode="bicubic", align_corners=False)


def check_image(image_BCHW: Tensor, patch: int) -> tuple[int, int]:
    """Patches along the height and the width of images. Raises ConfigError where they do not tile it."""
    height, width = image_BCHW.shape[-2:]
    if height % patch or width % patch:
        raise ConfigError(f"patches of {patch} px do not tile images of {height} x {width} px; pad them first")
    return height // patch, width // patch


def embedding(channels: int, width: int, patch: int, extend: int = 0) -> nn.Conv2d:
    """Images to maps of a token a patch. extend: the larger patch to embed at [px]; 0: at patch itself."""
    if not extend:
        return nn.Conv2d(channels, width, patch, patch)
    if extend < patch:
        raise ConfigError(
            f"extend {extend} is below patch {patch}: a sequence is extended from a larger patch, such as 16"
        )
    return ExtendedConv2d(channels, width, extend, patch)
