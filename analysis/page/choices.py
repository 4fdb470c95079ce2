"""Choices: candidates of the decision helper with their costs and predicted errors, a row each."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

COLUMNS = (
    "model",
    "patch",  # [px]
    "image",  # side that the model sees [px]
    "tokens",
    "parameters",
    "products",  # [FLOP h]
    "traffic",  # [byte h / s]
    "need",  # memory of a card that holds the smallest step [bytes]
    "recomputed",  # the same with gradient checkpointing
    "error",  # predicted, in the unit of the law
)
Row = Sequence[str | int | float]  # a candidate, in the order of COLUMNS


class OwnChoices(NamedTuple):
    """Candidates of own runs on one data set. rows: by the side of its images [px]."""

    task: str
    data: str
    measure: str  # "test loss"
    unit: str  # "nats"
    rows: Mapping[int, Sequence[Row]]
