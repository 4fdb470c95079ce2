"""Objectives: the terms of the training loss. Registered kinds: supervised (the loss of the task), distillation (of the
logits of a teacher; classification only).
"""

from dataclasses import dataclass
from typing import ClassVar

from scaling.config.data import check_digest
from scaling.config.fields import Bounds, check, check_fields, config_field
from scaling.config.model import TIMM


@dataclass(frozen=True, kw_only=True)
class Supervised:
    """The loss of the task against its labels."""

    kind: ClassVar[str] = "supervised"


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """The divergence of the student's class probabilities from those of a fixed teacher, as in FlexiViT
    (arXiv 2212.08013, big_vision's trainers/proj/flexi/distill.py). The supervised loss has the weight that is left."""

    kind: ClassVar[str] = "distillation"
    teacher: str = config_field(
        "teacher: the folder of a finished run, a file of weights of the recipe's own backbone, or timm:NAME; adds "
        "distillation to the objectives",
        location=True,
    )
    teacher_digest: str | None = config_field(
        "fingerprint of the contents of the teacher's weights; identifies it instead of its path",
        None,
        found=True,
        follows="teacher",
    )
    distil_weight: float = config_field(
        "weight w of distillation; the supervised loss has 1 - w", 1.0, bounds=Bounds(above=0, at_most=1)
    )
    temperature: float = config_field(
        "temperature that both logits are divided by; the divergence is multiplied by its square",
        1.0,
        bounds=Bounds(above=0),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        check(bool(self.teacher), "teacher", repr(self.teacher), "is empty")
        check_digest("teacher_digest", self.teacher_digest)

    @property
    def is_file(self) -> bool:
        """Whether the teacher is a run or a file, which its contents identify; otherwise its name in timm does."""
        return not self.teacher.startswith(TIMM)


OBJECTIVES: dict[str, type] = {c.kind: c for c in (Supervised, Distillation)}
