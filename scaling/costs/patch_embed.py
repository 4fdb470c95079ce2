"""Costs of the patch embeddings by one kernel or several (scaling/backbones/patch_embeds.py)."""

from dataclasses import dataclass

from scaling.config.embed_shapes import cross_scale_convolutions
from scaling.costs.base import FLOAT, EmbedInput


@dataclass(frozen=True)
class ConvEmbedCosts:
    """One convolution with bias, and a LayerNorm where there is one. Interpolating its tokens to a longer sequence is
    element-wise work, which is not counted; nor is resizing its kernel, once per batch."""

    def parameters(self, x: EmbedInput) -> int:
        return 3 * x.learned**2 * x.width + x.width + (2 * x.width if x.norm else 0)

    def flops(self, x: EmbedInput) -> int:
        return 2 * 3 * x.kernel**2 * x.width * x.tokens

    def activations(self, x: EmbedInput, number: int) -> int:
        """The norm keeps its input, and mean and deviation of every token."""
        return norm_bytes(x.width, x.tokens) if x.norm else 0


@dataclass(frozen=True)
class CrossScaleCosts:
    """Convolutions side by side, whose channels are concatenated. kernel of the input: the patch."""

    def parameters(self, x: EmbedInput) -> int:
        return sum(one.parameters for one in cross_scale_convolutions(x.kernel, x.width, x.scales))

    def flops(self, x: EmbedInput) -> int:
        return sum(one.flops(x.tokens) for one in cross_scale_convolutions(x.kernel, x.width, x.scales))

    def activations(self, x: EmbedInput, number: int) -> int:
        """All convolutions read the same pixels."""
        return 0


@dataclass(frozen=True)
class AdaptiveCosts:
    """Leaves of a quadtree, of the finest side `kernel`, by one kernel of the coarsest side `learned`. Every pixel is
    in one leaf, so the FLOPs are those of a convolution at any patch size, whatever the tree is. Scores of the tree are
    element-wise work, which is not counted; nor is resizing the kernel, once per batch."""

    def parameters(self, x: EmbedInput) -> int:
        return 3 * x.learned**2 * x.width + x.width + x.scales * x.width

    def flops(self, x: EmbedInput) -> int:
        return 2 * 3 * x.kernel**2 * x.width * x.tokens

    def activations(self, x: EmbedInput, number: int) -> int:
        """The pixels again, leaf by leaf, for the gradient of the kernels."""
        return number * 3 * x.kernel**2 * x.tokens


def norm_bytes(channels: int, places: int) -> int:
    """What a LayerNorm over the channels of a map keeps, always in float32 [bytes]."""
    return FLOAT * places * (channels + 2)
