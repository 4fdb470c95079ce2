"""Phases of a run with a schedule, one row each: RunRecord.phases. No torch."""

import math
from typing import TypedDict

from typing_extensions import NotRequired

from scaling.runs.finite_numbers import is_number


class PhaseRow(TypedDict):
    """A stretch of a run. What was measured at its change, on the same training images and the same weights, is None in
    the first phase and where none was: changes between mixtures, and runs too short for the images it takes."""

    first_step: int  # from 0
    steps: int
    patch_sizes: list[int]  # that its steps had, from coarse to fine [px]
    img_sizes: list[int]  # of images, or of crops, from large to small [px]
    crops: list[float]  # shares of the side, from large to small [1]
    images: int  # each as often as it was seen
    flops: float  # of training [FLOPs]; 0: unknown
    seconds: float  # of training steps, over all processes of a resumed run
    train_loss: float  # mean over its steps [nats]
    loss_before: float | None  # at the change, with the shape of the phase before [nats]
    loss_after: float | None  # and with the shape of this one [nats]
    spike: float | None  # the highest loss after the change, less loss_after; 0: it never was above that [nats]
    spike_steps: int | None  # steps until it stays at loss_before or below; None: more than were looked at, or unknown
    # what instruments read, one number per column of curve.csv, as in the record's metrics (docs/stability.md); records
    # of earlier versions have none by phase
    instruments: NotRequired[dict[str, float]]


KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("first_step", "steps", "images"), int),
    **dict.fromkeys(("patch_sizes", "img_sizes", "crops"), list),
    **dict.fromkeys(("flops", "seconds", "train_loss"), (int, float)),
    **dict.fromkeys(("loss_before", "loss_after", "spike", "spike_steps"), (int, float, type(None))),
}


def check_phases(rows: object) -> None:
    """Raise ValueError for what is no list of phases, as JSON may hold it."""
    if not isinstance(rows, list):
        raise ValueError(f"phases is {rows!r}, not a list")
    for row in rows:
        if not isinstance(row, dict) or set(row) - {"instruments"} != set(KINDS):
            raise ValueError(f"a phase is {row!r}")
        read = row.get("instruments", {})
        if not isinstance(read, dict) or not all(is_number(value) for value in read.values()):
            raise ValueError(f"instruments of a phase is {read!r}")
        for name, kind in KINDS.items():
            value = row[name]
            numbers = value if isinstance(value, list) else [value]
            finite = all(not isinstance(one, float) or math.isfinite(one) for one in numbers)
            if not isinstance(value, kind) or isinstance(value, bool) or not finite:
                raise ValueError(f"{name} of a phase is {value!r}")
