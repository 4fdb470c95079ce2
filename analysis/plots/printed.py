"""Printed: at which width figures are drawn, and as which files, for all figures that a program makes.

Figures are drawn at the size at which they are printed, so that their letters have the size that style.py gives them.
A program chooses once, around the code that draws:

with printed(width="column", formats=("pdf",)):
    report(...)
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from scaling.config.fields import check_name
from scaling.errors import ConfigError

WIDTHS = {"column": 3.25, "page": 6.75}  # of a column of two, and of both [inches]
FORMATS = ("png", "pdf", "svg")


class Printed(NamedTuple):
    """width: a name of WIDTHS. formats: of FORMATS, one or more."""

    width: str = "page"
    formats: tuple[str, ...] = ("png", "pdf")

    @property
    def inches(self) -> float:
        """Width of a figure."""
        return WIDTHS[self.width]

    @property
    def endings(self) -> str:
        """The formats as they stand behind a file's name in a message: png|pdf."""
        return "|".join(self.formats)


USUAL = Printed()
_CHOSEN: ContextVar[Printed] = ContextVar("printed", default=USUAL)


def chosen() -> Printed:
    """What holds for a figure that is drawn now."""
    return _CHOSEN.get()


def check(width: str, formats: Sequence[str]) -> None:
    """Raise ConfigError for a width or a format that is not known."""
    check_name("width of figures", width, tuple(WIDTHS))
    for one in formats:
        check_name("format of figures", one, FORMATS)
    if not formats:
        raise ConfigError(f"no format of figures; choose from: {', '.join(FORMATS)}")


@contextmanager
def printed(width: str = USUAL.width, formats: Sequence[str] = USUAL.formats) -> Iterator[None]:
    """Figures of the block have this width and these formats, which are known."""
    token = _CHOSEN.set(Printed(width, tuple(dict.fromkeys(formats))))
    try:
        yield
    finally:
        _CHOSEN.reset(token)
