"""Hierarchical patch embedding: several scales around each patch in one token, the cross-scale embedding layer of
CrossFormer (arXiv 2108.00154, section 3.1).

B batch, C channels, H W pixels, h w grid, D width.
"""

import torch
from torch import Tensor, nn

from scaling.backbones.embed_init import EmbedConv
from scaling.backbones.patch_embed import MapPatchEmbed
from scaling.backbones.resampling import BICUBIC, Filter
from scaling.config.embed_shapes import cross_scale_convolutions
from scaling.errors import ConfigError


class HierarchicalPatchEmbed(MapPatchEmbed):
    """Convolutions at the stride of a patch, the first of its size, each other one twice as large as the one before;
    their channels are concatenated. Weights are drawn by LeCun, biases are 0."""

    def __init__(self, channels: int, width: int, image: int, patch_size: int, scales: int = 3) -> None:
        """scales: number of convolutions. Raises ConfigError for a width that they cannot share."""
        super().__init__(channels, width, image, patch_size)
        if width % 2 ** (scales - 1):
            raise ConfigError(
                f"scales {scales} needs a width that is a multiple of {2 ** (scales - 1)}, and the backbone is {width} "
                "channels wide; set fewer --scales"
            )
        sizes = [size._replace(inputs=channels) for size in cross_scale_convolutions(patch_size, width, scales)]
        self.proj = EmbedConv(sizes[0], "lecun")
        self.wider = nn.ModuleList(EmbedConv(size, "lecun") for size in sizes[1:])

    def _map(self, image_BCHW: Tensor, grid: tuple[int, int]) -> Tensor:
        return torch.cat([conv(image_BCHW) for conv in (self.proj, *self.wider)], 1)

    def convert_state_dict(self, state: dict[str, Tensor], how: Filter = BICUBIC) -> dict[str, Tensor]:
        """As it is. Raises ConfigError for weights without the kernels of this embedding."""
        for name, own in self.state_dict(prefix="patch_embed.").items():
            if name not in state or state[name].shape != own.shape:
                raise ConfigError(
                    f"these weights have no {name} of shape {tuple(own.shape)}, which no resampling makes; start from "
                    "a run with the same --patch-embed, --scales and --patch-size"
                )
        return state
