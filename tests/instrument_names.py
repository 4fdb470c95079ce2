"""What instruments add to records and curves, for tests of what was there before them."""

from collections.abc import Mapping
from typing import TypeVar

V = TypeVar("V")
INSTRUMENTS = (
    "grad_",
    "clipped_steps",
    "noise_scale",
    "update_ratio",
    "embedding_rms",
    "loss_spikes",
)  # names begin so

NOISE = ("grad_signal", "grad_noise", "noise_scale")  # known only where a batch is several micro-batches


def without_noise(values: Mapping[str, V]) -> dict[str, V]:
    """What does not depend on the micro-batch."""
    return {name: value for name, value in values.items() if name not in NOISE}


def without_instruments(values: Mapping[str, V]) -> dict[str, V]:
    """Metrics or cells by name, without theirs."""
    return {name: value for name, value in values.items() if not name.startswith(INSTRUMENTS)}
