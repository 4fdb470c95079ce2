"""Overlapping patch embedding: a convolution whose kernel is larger than its stride (PVT v2, arXiv 2106.13797, after
timm's OverlapPatchEmbed).

Departs: the kernel is centred on its patch as far as its side permits, so the grid is that of any other embedding;
PVT v2 pads by half a kernel, which moves the windows of even patches and leaves one fewer at some sizes.
B batch, C channels, H W pixels, h w grid, D width.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from scaling.backbones.embed_init import embed_conv
from scaling.backbones.patch_embed import KERNEL, MapPatchEmbed
from scaling.backbones.resampling import BICUBIC, Filter
from scaling.config.embed_shapes import Convolution, overlapping_kernel
from scaling.config.patch_embeds import RELEASED
from scaling.errors import ConfigError


class OverlappingPatchEmbed(MapPatchEmbed):
    """With a kernel of patch_size and without its norm it is ConvPatchEmbed."""

    def __init__(
        self,
        channels: int,
        width: int,
        image: int,
        patch_size: int,
        overlap_kernel: int | None = None,
        embed_norm: bool = True,
        embed_init: str = RELEASED,
    ) -> None:
        """overlap_kernel: side of the kernel [px], None: as overlapping_kernel has it. embed_norm: whether a LayerNorm
        over channels follows. embed_init: one of INITS."""
        super().__init__(channels, width, image, patch_size)
        side = overlapping_kernel(patch_size, overlap_kernel)
        self.proj = embed_conv(Convolution(side, patch_size, channels, width), embed_init)
        self.norm = nn.LayerNorm(width) if embed_norm else None

    def _map(self, image_BCHW: Tensor, grid: tuple[int, int]) -> Tensor:
        map_BDhw = self.proj(image_BCHW)
        return map_BDhw if self.norm is None else channel_norm(map_BDhw, self.norm)

    def convert_state_dict(self, state: dict[str, Tensor], how: Filter = BICUBIC) -> dict[str, Tensor]:
        """As it is. Raises ConfigError for a kernel of another size: no resampling keeps what overlapping kernels
        compute."""
        own, kernel = self.proj.weight, state.get(KERNEL)
        if kernel is not None and kernel.shape != own.shape:
            raise ConfigError(
                f"these weights embed patches by a kernel of {kernel.shape[-1]} px, the overlapping embedding has one "
                f"of {own.shape[-1]} px; start from a run with the same --patch-embed and --overlap-kernel"
            )
        return state


def channel_norm(map_BCHW: Tensor, norm: nn.LayerNorm) -> Tensor:
    """LayerNorm over the channels of each place of a map."""
    normed_BHWC = F.layer_norm(map_BCHW.permute(0, 2, 3, 1), norm.normalized_shape, norm.weight, norm.bias, norm.eps)
    return normed_BHWC.permute(0, 3, 1, 2)
