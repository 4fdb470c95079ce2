"""Output: text of 80 columns, atomically written files, and errors of the command line in one line."""

import argparse
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from scaling.errors import ConfigError
from scaling.runs.atomic_files import write_atomically

WIDTH = 80  # of what is printed [characters]


def print_wrapped(text: str, indent: int = 4) -> None:
    """Print a paragraph of at most WIDTH columns, its later lines indented."""
    print(textwrap.fill(text, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False))


def counted(number: int, what: str) -> str:
    """1 run, 2 runs."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def until_closed(main: Callable[[], int]) -> int:
    """The exit status of a program. Where its output is closed early, as by `head`, it ends silently with the status
    that a shell gives such a command."""
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # discards the rest of the buffer
        return 128 + signal.SIGPIPE


class NotWritten(ConfigError):
    """Files could not be written. reason: part of a sentence, without advice."""

    def __init__(self, out: Path, error: OSError) -> None:
        self.reason = f"cannot write to {out} ({error.strerror or error})"
        super().__init__(f"{self.reason}; choose another folder with --out")


def write_files(out: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write files to out, each atomically; names may contain folders. Returns their paths. Raises NotWritten where out
    cannot be written."""
    try:
        for name, content in files.items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
    except OSError as e:
        raise NotWritten(out, e) from e
    return [out / name for name in files]


class Parser(argparse.ArgumentParser):
    """Options of a command line; a wrong one raises ConfigError of one line, without argparse's usage.
    how: the option that lists the options.  The others: of argparse."""

    def __init__(
        self,
        how: str = "--help",
        *,
        prog: str | None = None,
        description: str | None = None,
        add_help: bool = True,
        allow_abbrev: bool = True,
    ) -> None:
        super().__init__(prog, description=description, add_help=add_help, allow_abbrev=allow_abbrev)
        self.how = how

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; {self.how} lists the options")
