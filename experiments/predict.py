"""Predict classes, class maps or objects of images with a trained model.

python experiments/predict.py RUN image.jpg
python experiments/predict.py RUN FOLDER --top 5 --json
python experiments/predict.py RUN FOLDER --patch 8 --out PICTURES
RUN is the folder of a finished run, a .safetensors file of export.py, or a Hub repository (a folder, or
hf:OWNER/NAME). A file that is no image is a line on stderr, and the others are predicted; the status is 2 where none
could be read.
"""

import io
import json
import sys
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from analysis.report.output import Parser, counted, write_files
from analysis.report.recipes_option import add_recipes
from experiments.cli import arguments  # before torch: experiments/__init__.py sets how threads wait
from experiments.cli.image_files import image_files
from scaling.config.task import base_kind
from scaling.errors import ConfigError

if TYPE_CHECKING:
    from PIL import Image

    from scaling.inference.predictions import Predicted

HEADINGS = {
    "classify": ("class", "probability"),
    "segment": ("class", "pixels [%]"),
    "detect": ("class", "score", "box x0 y0 x1 y1 [px]"),
}
ROOM = (28, 16)  # width of the columns of files and of classes, at most; a longer name is printed whole
SECONDS = 30.0  # between two lines of progress where there is no terminal


def main(argv: list[str] | None = None) -> int:
    args = _arguments(argv)
    files = image_files(args.images)
    import torch

    from scaling.engine.environment import uses_cuda
    from scaling.inference.predictions import ClassProbabilities, check_patch_size, predict
    from scaling.inference.sources import load

    if args.accelerator == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--accelerator cuda: there is no CUDA device; leave it out, or take cpu")
    trained = load(args.run, "cuda" if uses_cuda(args.accelerator) else "cpu")
    check_patch_size(trained, args.patch)
    kind, classes = base_kind(trained.config.task), trained.module.names
    if not kind:
        raise ConfigError(
            f"the task {trained.config.task.kind} has no predictions to print; scaling.load gives its model"
        )
    if args.out and kind == "classify":
        raise ConfigError("--out draws class maps and objects; classes are printed: leave --out away, or take --json")
    for line in files.lines:
        print(line, file=sys.stderr)
    table, read = _Table(files.names, classes, HEADINGS[kind]), 0
    predicted = _with_progress(predict(trained, files.paths, args.patch, args.batch), len(files.paths))
    for name, one in zip(files.names, predicted, strict=True):
        if one.rgb is None or isinstance(one.result, OSError):
            print(one.result, file=sys.stderr)
            continue
        read += 1
        if args.json:
            print(json.dumps({"file": str(one.file), **one.result.to_json(classes, args.top)}))
        else:
            table.show(name, one.result.rows(classes, args.top))
        if args.out and not isinstance(one.result, ClassProbabilities):
            write_files(Path(args.out).expanduser(), {f"{name}.png": _png(one.result.picture(one.rgb, classes))})
    if read < len(files.paths) > 1:
        print(f"{len(files.paths) - read} of {counted(len(files.paths), 'file')} could not be read", file=sys.stderr)
    if args.out and read:
        print(f"{counted(read, 'picture')} in {args.out}", file=sys.stderr)
    return 0 if read else 2


def _arguments(argv: list[str] | None) -> Namespace:
    parser = Parser(prog="predict.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", metavar="RUN", help="folder of a finished run, file of export.py, or hf:OWNER/NAME")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="image files, or folders of images")
    parser.add_argument("--patch", type=int, help="patch size of a flexible model; default: its finest [px]")
    parser.add_argument("--top", type=int, help="most classes or objects per image, the best first")
    parser.add_argument("--json", action="store_true", help="print one JSON object per image, each in a line")
    parser.add_argument("--out", metavar="FOLDER", help="draw class maps or objects into this folder")
    parser.add_argument("--accelerator", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    add_recipes(parser)
    parser.add_argument("--batch", type=int, default=32, help="images at a time in classification; default: 32")
    args = parser.parse_args(argv)
    if args.out and (out := Path(args.out).expanduser()).exists() and not out.is_dir():
        raise ConfigError(f"--out {args.out} is a file; name a folder for the pictures")
    for name in ("top", "batch"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise ConfigError(f"--{name} {value} must be at least 1")
    return args


class _Table:
    """A table that is printed row by row. names: of all images; classes: their names; headings: beside `file`."""

    def __init__(self, names: Sequence[str], classes: Sequence[str], headings: Sequence[str]) -> None:
        longest = (max(map(len, ("file", *names))), max(map(len, (headings[0], *classes))))
        self.widths = [min(pair) for pair in zip(longest, ROOM, strict=True)] + [len(h) for h in headings[1:]]
        self.headings: Sequence[str] | None = ("file", *headings)  # None: printed

    def show(self, name: str, rows: Sequence[Sequence[str]]) -> None:
        """The rows of an image, whose name is in the first."""
        if self.headings is not None:
            self._line(self.headings)
            self.headings = None
        for number, row in enumerate(rows):
            self._line(("" if number else name, *row))

    def _line(self, cells: Sequence[str]) -> None:
        """Texts to the left, numbers to the right."""
        texts = [cell.ljust(width) for cell, width in zip(cells[:2], self.widths, strict=False)]
        numbers = [cell.rjust(width) for cell, width in zip(cells[2:], self.widths[2:], strict=True)]
        print("  ".join([*texts, *numbers]).rstrip())


def _png(picture: "Image.Image") -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _with_progress(predicted: "Iterable[Predicted]", total: int) -> "Iterator[Predicted]":
    """The same, with progress on stderr where the rows do not show it in a terminal themselves: a bar, or where there
    is no terminal at all a line every SECONDS."""
    if sys.stdout.isatty():
        yield from predicted
        return
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (MofNCompleteColumn(), "images", BarColumn(), TimeRemainingColumn())
        # rich would otherwise send what is printed to stderr, too
        with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
            yield from bar.track(predicted, total=total)
        return
    printed = time.monotonic()
    for number, one in enumerate(predicted, 1):
        yield one
        if time.monotonic() - printed > SECONDS:
            printed = time.monotonic()
            print(f"{number} of {total} images", file=sys.stderr)


def program() -> NoReturn:
    """The program, with its exit status."""
    arguments.guarded(main)


if __name__ == "__main__":
    program()
