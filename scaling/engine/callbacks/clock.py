"""Wall time of a run over all of its processes; the time between them does not count."""

import time
from datetime import datetime, timezone
from typing import cast

import lightning as L


def utc_now() -> str:
    """ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


class RunClock(L.Callback):
    """started: when the run was first started, ISO 8601, UTC."""

    def __init__(self) -> None:
        self._earlier_seconds = 0.0  # of processes before this one
        self.start()

    def start(self) -> None:
        """Count from here on."""
        self.started, self._begun = utc_now(), time.monotonic()

    def wall_time(self) -> float:
        """[s]"""
        return self._earlier_seconds + time.monotonic() - self._begun

    def state_dict(self) -> dict[str, object]:
        return {"started": self.started, "seconds": self.wall_time()}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        self.started = cast(str, state_dict["started"])
        self._earlier_seconds = cast(float, state_dict["seconds"])
