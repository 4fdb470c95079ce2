"""Costs of early convolutions (scaling/backbones/conv_stem.py). kernel of the input: the patch."""

from collections.abc import Iterator
from dataclasses import dataclass

from scaling.config.embed_shapes import Convolution, stem_convolutions
from scaling.costs.base import FLOAT, EmbedInput
from scaling.costs.patch_embed import norm_bytes


@dataclass(frozen=True)
class ConvStemCosts:
    """The maps of the first convolutions have more places than there are tokens: they cost most of the memory."""

    def parameters(self, x: EmbedInput) -> int:
        *stages, last = stem_convolutions(x.kernel, x.width)
        return sum(one.parameters + 2 * one.outputs for one in stages) + last.parameters  # scale and shift of a norm

    def flops(self, x: EmbedInput) -> int:
        return sum(one.flops(places) for one, places in _maps(x))

    def activations(self, x: EmbedInput, number: int) -> int:
        """Of each convolution but the last: the norm's input, means and deviations; ReLU's output, which the next one
        reads and which is in the precision of the norm."""
        *stages, last = _maps(x)
        kept = sum(norm_bytes(one.outputs, places) + FLOAT * one.outputs * places for one, places in stages)
        copies = number * last[0].inputs * last[1] if number < FLOAT else 0
        return kept + copies


def _maps(x: EmbedInput) -> Iterator[tuple[Convolution, int]]:
    """Each convolution and the places of its output."""
    places = x.tokens * x.kernel**2
    for one in stem_convolutions(x.kernel, x.width):
        places //= one.stride**2
        yield one, places
