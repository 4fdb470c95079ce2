"""Step shapes: patch size and image size of every training step. Registered kinds: fixed."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class FixedShape:
    """Every step has the patch size and the image size of ModelConfig."""

    kind: ClassVar[str] = "fixed"


STEP_SHAPES: dict[str, type] = {c.kind: c for c in (FixedShape,)}
