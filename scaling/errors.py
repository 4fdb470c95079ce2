"""Exceptions that cross modules, and the parts of an exception or of a list that fit into a message of one line."""

import re
from collections.abc import Iterable

CODES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")  # of a terminal: colours and such (ECMA-48, control sequences)


def first_line(e: BaseException, most: int = 160) -> str:
    """The first line of e's message that is not empty, at most so many characters, without a terminal's codes; the name
    of its class where it has no message."""
    lines = (line.strip() for line in CODES.sub("", str(e)).splitlines())
    return next(filter(None, lines), type(e).__name__)[:most]


def first_of(values: Iterable[object], most: int = 5) -> str:
    """The first of some values with commas between, and "…" for the others."""
    texts = list(map(str, values))
    return ", ".join(texts[:most]) + (", …" if len(texts) > most else "")


class ConfigError(ValueError):
    """Something that the user gave cannot be used. One line: what, why, and what would do."""


class NewerRecordError(ConfigError):
    """A record whose recipe this version does not know all of: it is neither read nor done again."""


class PluginNeededError(NewerRecordError):
    """A record or a file that was made with a plug-in which is not loaded: it is neither read nor done again."""


class TrainingInterrupted(RuntimeError):
    """The run was asked to stop and did, after a checkpoint where it has made any step: the same command resumes it."""


class NonFiniteLossError(RuntimeError):
    """The training loss is no number any more. facts: reason, step, lr."""

    def __init__(self, step: int, lr: float, loss: float) -> None:
        self.facts = {"reason": f"training loss is {loss}", "step": step, "lr": lr}
        super().__init__(f"training loss is {loss} at step {step}, learning rate {lr:.3g}")


class RunLockedError(RuntimeError):
    """Another process holds this run's folder: it is being trained right now."""
