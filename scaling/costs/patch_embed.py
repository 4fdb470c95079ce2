"""Costs of the convolution that embeds patches (scaling/backbones/patch_embed.py)."""

from dataclasses import dataclass

from scaling.costs.base import EmbedInput


@dataclass(frozen=True)
class ConvEmbedCosts:
    """One convolution whose kernel and stride are the patch, with bias. Interpolating its tokens to a longer sequence
    is element-wise work, which is not counted; nor is resizing its kernel, once per batch."""

    def parameters(self, x: EmbedInput) -> int:
        return 3 * x.learned**2 * x.width + x.width

    def flops(self, x: EmbedInput) -> int:
        return 2 * 3 * x.kernel**2 * x.width * x.tokens
