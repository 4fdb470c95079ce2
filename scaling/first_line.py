"""What a message of one line has room for: the first line of an exception's, the first of many values."""

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
