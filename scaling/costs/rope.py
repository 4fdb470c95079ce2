"""Costs of RoPE (scaling/backbones/rope.py). Turning is element-wise work, which is not counted."""

from dataclasses import dataclass

from scaling.costs.base import PositionInput


@dataclass(frozen=True)
class RopeCosts:
    """Queries and keys are turned in every block. learned: whether frequencies are, of each block and head, two for
    each pair of channels."""

    learned: bool
    has_table: bool = False
    keeps_matrix: bool = False

    def parameters(self, x: PositionInput) -> int:
        return x.spec.depth * x.spec.width if self.learned else 0

    def block_bytes(self, x: PositionInput, number: int) -> int:
        """Queries and keys after they are turned; those before are part of the product with values."""
        return number * x.tokens.total * 2 * x.spec.width
