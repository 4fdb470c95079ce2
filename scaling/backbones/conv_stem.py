"""Early convolutions as a patch embedding (arXiv 2106.14881): a convolution of stride 2 for each factor 2 of the patch.

Departs: LayerNorm over channels in place of BatchNorm; see the docstring of its fields in
scaling/config/patch_embeds.py. B batch, C channels, H W pixels, h w grid, D width.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from scaling.backbones.embed_init import EmbedConv
from scaling.backbones.overlapping_embed import channel_norm
from scaling.backbones.patch_embed import MapPatchEmbed
from scaling.backbones.resampling import BICUBIC, Filter
from scaling.config.embed_shapes import stem_convolutions
from scaling.errors import ConfigError


class ConvStemPatchEmbed(MapPatchEmbed):
    """Convolutions, each with LayerNorm and ReLU, then `proj`, of 1 x 1. Weights before a ReLU are drawn by He, those
    of proj by LeCun, biases are 0."""

    def __init__(self, channels: int, width: int, image: int, patch_size: int) -> None:
        super().__init__(channels, width, image, patch_size)
        *stages, last = stem_convolutions(patch_size, width)
        stages[0] = stages[0]._replace(inputs=channels)
        self.stages = nn.ModuleList(EmbedConv(size, "he") for size in stages)
        self.norms = nn.ModuleList(nn.LayerNorm(size.outputs) for size in stages)
        self.proj = EmbedConv(last, "lecun")

    def _map(self, image_BCHW: Tensor, grid: tuple[int, int]) -> Tensor:
        x_BCHW = image_BCHW
        for stage, norm in zip(self.stages, self.norms, strict=True):
            assert isinstance(norm, nn.LayerNorm)
            x_BCHW = F.relu(channel_norm(stage(x_BCHW), norm))
        return self.proj(x_BCHW)

    def convert_state_dict(self, state: dict[str, Tensor], how: Filter = BICUBIC) -> dict[str, Tensor]:
        """As it is. Raises ConfigError for weights without the convolutions of this stem: those of another patch size
        have others."""
        for name, own in self.stages.state_dict(prefix="patch_embed.stages.").items():
            if name not in state or state[name].shape != own.shape:
                raise ConfigError(
                    f"these weights have no convolutional stem of patch {self.patch_size}, which no resampling makes; "
                    "start from a run with the same --patch-embed and --patch-size"
                )
        return state
