"""Output: text of 80 columns, and files that are there whole or not at all."""

import os
import tempfile
import textwrap
from collections.abc import Mapping
from pathlib import Path

from scaling.recipe import BadInput

WIDTH = 80  # of what is printed [characters]


def print_wrapped(text: str, indent: int = 4) -> None:
    """Print a paragraph of at most WIDTH columns, its later lines indented."""
    print(textwrap.fill(text, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False))


def counted(number: int, what: str) -> str:
    """1 run, 2 runs."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def write_files(out: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write files to out, each whole or not at all; names may have folders before them. Raises BadInput where out
    cannot be written."""
    try:
        for name, content in files.items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            try:
                with os.fdopen(handle, "wb") as f:
                    f.write(content)
                os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner reads
                os.replace(temporary, path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
    except OSError as e:
        raise BadInput(f"cannot write to {out} ({e.strerror}); --out names another folder") from e
    return [out / name for name in files]
