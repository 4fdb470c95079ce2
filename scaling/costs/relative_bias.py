"""Costs of relative biases (scaling/backbones/relative_bias.py).

The bias is made once a step, whatever the number of images, so the products of its MLP are not counted. T tokens, H
heads.
"""

from dataclasses import dataclass

from scaling.costs.base import FLOAT, MemoryPolicy, PositionInput
from scaling.model_specs import BIAS_HIDDEN


@dataclass(frozen=True)
class RelativeCosts:
    """A bias of the logits is added in every block. by_mlp: it is computed; else learned per offset."""

    by_mlp: bool
    has_table: bool = False
    keeps_matrix: bool = True
    splits_mixer: bool = False

    def parameters(self, x: PositionInput) -> int:
        heads = x.spec.width // x.spec.head_dim
        if self.by_mlp:
            return BIAS_HIDDEN * (2 + 1 + heads)
        return heads * ((2 * x.side - 1) ** 2 + 3)

    def block_bytes(self, x: PositionInput, number: int) -> int:
        return 0

    def step_bytes(self, x: PositionInput, policy: MemoryPolicy) -> int:
        """Where each pair of tokens has its number, or the hidden channels of the MLP at each offset. Blocks that are
        computed again need the bias itself until the end, a matrix of T x T numbers per head, and its gradient."""
        pairs, heads = x.tokens.total**2, x.spec.width // x.spec.head_dim
        made = FLOAT * BIAS_HIDDEN * (2 * x.side - 1) ** 2 if self.by_mlp else 9 * pairs  # a long and a bool
        return made + (2 * FLOAT * heads * pairs if policy.grad_checkpointing else 0)
