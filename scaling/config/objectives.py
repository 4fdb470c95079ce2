"""Objectives: the terms of the training loss. Registered kinds: supervised (the loss of the task)."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Supervised:
    """The loss of the task against its labels."""

    kind: ClassVar[str] = "supervised"


OBJECTIVES: dict[str, type] = {c.kind: c for c in (Supervised,)}
