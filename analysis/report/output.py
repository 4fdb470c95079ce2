"""Output: text of 80 columns, files that are there whole or not at all, and a wrong option in one line."""

import argparse
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

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
    """The exit status of a program; where nobody reads its output to the end, as `head` does not, it ends there without
    a word, with the status that a shell gives such a command."""
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer goes there
        return 128 + signal.SIGPIPE


class NotWritten(ConfigError):
    """Files that could not be written where they belong. reason: as a part of a sentence, without what would do."""

    def __init__(self, out: Path, error: OSError) -> None:
        self.reason = f"cannot write to {out} ({error.strerror or error})"
        super().__init__(f"{self.reason}; --out names another folder")


def write_files(out: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write files to out, each whole or not at all; names may have folders before them. Raises NotWritten where
    out cannot be written."""
    try:
        for name, content in files.items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
    except OSError as e:
        raise NotWritten(out, e) from e
    return [out / name for name in files]


class Parser(argparse.ArgumentParser):
    """Options of a command line; a wrong one is one line of ConfigError, without argparse's usage.
    how: the words that list the options."""

    def __init__(self, how: str = "--help", **options: Any) -> None:
        super().__init__(**options)
        self.how = how

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; {self.how} lists the options")
