"""Initial weights of patch embeddings, and the variance of tokens that follows from them.

With independent weights of mean 0 and variance v, a token's mean square over the draws is v times the sum of the
squares of its n = 3 p^2 pixel values, correlated or not. So it is that of the pixels at every patch size only where
v is proportional to 1/n.

timm     uniform, v = 1/(3 n), bias uniform too: torch's default for a convolution, which timm's ViT keeps
lecun    truncated normal, v = 1/n (timm's lecun_normal_): the variance of tokens is that of pixels
xavier   uniform, v = 2/(n + D), of the flattened patch as one matrix, as in MAE (arXiv 2111.06377)
he       normal, v = 2/n
p patch [px], D width.
"""

from collections.abc import Callable

from timm.layers import lecun_normal_
from torch import Tensor, nn

from scaling.config.embed_shapes import Convolution
from scaling.config.patch_embeds import RELEASED

DRAWS: dict[str, Callable[[Tensor], Tensor]] = {  # of a kernel as a matrix (D, n)
    "lecun": lecun_normal_,
    "xavier": nn.init.xavier_uniform_,
    "he": nn.init.kaiming_normal_,
}


class EmbedConv(nn.Conv2d):
    """A convolution with an initialisation of its own, whatever the backbone draws for others."""

    def __init__(self, size: Convolution, init: str) -> None:
        """init: timm, or one of DRAWS, whose biases are 0."""
        self.init = init  # the constructor of Conv2d calls reset_parameters
        super().__init__(size.inputs, size.outputs, size.kernel, size.stride, size.padding)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.init in DRAWS:
            DRAWS[self.init](self.weight.detach().flatten(1))
            if self.bias is not None:
                nn.init.zeros_(self.bias)


def embed_conv(size: Convolution, init: str) -> nn.Conv2d:
    """The convolution of an embedding; init "released": the backbone draws its weights."""
    if init == RELEASED:
        return nn.Conv2d(size.inputs, size.outputs, size.kernel, size.stride, size.padding)
    return EmbedConv(size, init)
