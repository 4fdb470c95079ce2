"""Scale of tokens before training: what a patch embedding makes of an image's pixels."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from scaling.backbones.patch_embed import PatchEmbed
from scaling.rng import seeded


def token_scale(make: Callable[[], PatchEmbed], image_BCHW: Tensor, draws: int = 32) -> float:
    """Root mean square of the numbers of tokens over that of the pixels [1], over draws of the weights.

    make: builds the embedding, which draws its weights. image_BCHW: normalised as the model gets them. The result is
    the same at every call."""
    squares = 0.0
    with seeded(0), torch.no_grad():
        for _ in range(draws):
            tokens_BLD, _layout = make()(image_BCHW)
            squares += float(tokens_BLD.square().mean()) / draws
    return math.sqrt(squares / float(image_BCHW.square().mean()))
