"""Costs of position encodings that are a table, learned or fixed (scaling/backbones/pos_embed.py)."""

from dataclasses import dataclass

from scaling.model_specs import ModelSpec


@dataclass(frozen=True)
class TableCosts:
    """A vector per image token is added before the blocks. has_table: whether it is learned."""

    has_table: bool

    def parameters(self, spec: ModelSpec) -> int:
        return 0
