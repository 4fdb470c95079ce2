"""Costs of position encodings that are added to tokens (scaling/backbones/pos_embed.py, additive_positions.py), and of
the one that turns B and C of a scan (scan_rope.py), whose memory is that of a mixer of several operations."""

from dataclasses import dataclass

from scaling.costs.base import MemoryPolicy, PositionInput


@dataclass(frozen=True)
class TableCosts:
    """A vector per image token is added before the blocks, or nothing. has_table: whether it is learned."""

    has_table: bool
    keeps_matrix: bool = False
    splits_mixer: bool = False

    def parameters(self, x: PositionInput) -> int:
        return 0

    def block_bytes(self, x: PositionInput, number: int) -> int:
        return 0

    def step_bytes(self, x: PositionInput, policy: MemoryPolicy) -> int:
        return 0


@dataclass(frozen=True)
class FactorizedCosts(TableCosts):
    """A table along each axis."""

    has_table: bool = False

    def parameters(self, x: PositionInput) -> int:
        return 2 * x.longest * x.spec.width


@dataclass(frozen=True)
class FourierCosts(TableCosts):
    """Frequencies along both axes, for half as many pairs as channels, and a linear layer on sines and cosines."""

    has_table: bool = False

    def parameters(self, x: PositionInput) -> int:
        return x.spec.width + x.spec.width**2 + x.spec.width
