"""Costs of relative biases (scaling/backbones/relative_bias.py).

The bias itself is made once a step, whatever the number of images: neither the products of its MLP nor its memory, one
matrix of T x T numbers per head, are counted. T tokens, H heads.
"""

from dataclasses import dataclass

from scaling.costs.base import PositionInput
from scaling.model_specs import BIAS_HIDDEN


@dataclass(frozen=True)
class RelativeCosts:
    """A bias of the logits is added in every block. by_mlp: it is computed; else learned per offset."""

    by_mlp: bool
    has_table: bool = False
    keeps_matrix: bool = True

    def parameters(self, x: PositionInput) -> int:
        heads = x.spec.width // x.spec.head_dim
        if self.by_mlp:
            return BIAS_HIDDEN * (2 + 1 + heads)
        return heads * ((2 * x.side - 1) ** 2 + 3)

    def block_bytes(self, x: PositionInput, number: int) -> int:
        return 0
