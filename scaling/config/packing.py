"""Packing: how images are laid out in a batch. Registered kinds: none (one image per row, all of one size)."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class NoPacking:
    """One image per row of a batch, all of one size."""

    kind: ClassVar[str] = "none"


PACKINGS: dict[str, type] = {c.kind: c for c in (NoPacking,)}
