"""Events of a run at work: small values that pass through pipes and are shown elsewhere. Standard library only."""

from collections.abc import Callable
from typing import NamedTuple


class Progress(NamedTuple):
    """Progress of a run."""

    epoch: int = 0  # being trained, from 1
    epochs: int = 0
    step: int = 0  # optimiser steps done
    steps: int = 0
    loss: float = float("nan")  # training loss of the last step [nats]
    images_per_second: float = 0.0
    eta: float = float("nan")  # to the end of training [s]


class Event(NamedTuple):
    """kind: "open": the run's folder exists; "train", "evaluate": progress is set; "note": text is a line for the user.
    A launcher adds "begin": the run's process starts, and "elsewhere": another process trains the run, text is the
    line."""

    kind: str
    progress: Progress = Progress()
    text: str = ""


Report = Callable[[Event], None]  # what a run calls with its events
