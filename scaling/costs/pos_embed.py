"""Costs of position encodings that are a table, learned or fixed (scaling/backbones/pos_embed.py)."""

from dataclasses import dataclass

from scaling.costs.base import MemoryPolicy, PositionInput


@dataclass(frozen=True)
class TableCosts:
    """A vector per image token is added before the blocks. has_table: whether it is learned."""

    has_table: bool
    keeps_matrix: bool = False

    def parameters(self, x: PositionInput) -> int:
        return 0

    def block_bytes(self, x: PositionInput, number: int) -> int:
        return 0

    def step_bytes(self, x: PositionInput, policy: MemoryPolicy) -> int:
        return 0
