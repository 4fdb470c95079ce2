"""Command line of the programs that measure one finished run at several patch sizes."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from analysis.report.figure_options import add_figure_options, as_chosen
from analysis.report.output import Parser, counted
from analysis.report.patch_option import patch_sizes
from analysis.report.recipes_option import add_recipes
from scaling.errors import ConfigError


def run_parser(name: str, description: str, images: int) -> Parser:
    """A parser with RUN, --patch, --images, --recipes, --out and the options of figures. name: of the program, without
    .py; images: the default of --images."""
    parser = Parser(prog=f"{name}.py", description=description)
    parser.add_argument("run", metavar="RUN", help="folder of a finished classification run")
    parser.add_argument(
        "--patch",
        metavar="P,P",
        help="patch sizes [px], separated by commas; a model with a fixed patch has its kernel and positions resampled "
        "(default: those that the run was evaluated at)",
    )
    parser.add_argument(
        "--images", metavar="N", type=int, default=images, help="number of test images (default: %(default)s)"
    )
    add_recipes(parser)
    parser.add_argument("--out", metavar="DIR", help=f"folder to write to (default: analysis/{name} beside the run)")
    add_figure_options(parser)
    return parser


def measured(
    parser: Parser,
    report: Callable[[argparse.Namespace, list[int]], None],
    argv: Sequence[str] | None,
    least: int = 1,
) -> int:
    """Parse, and call report with the options and the patch sizes of --patch [px]. least: number of images. Returns the
    exit status: 0, or 2 with one line on stderr for unusable input."""
    try:
        args = parser.parse_args(argv)
        patches = patch_sizes(args.patch)
        if args.images < least:
            raise ConfigError(f"--images {args.images} is too few: {counted(least, 'image')} or more")
        with as_chosen(args):
            report(args, patches)
    except ConfigError as e:
        print(f"{parser.prog.removesuffix('.py')}: {e}", file=sys.stderr)
        return 2
    return 0


def output_folder(args: argparse.Namespace, name: str) -> Path:
    """--out, or the folder analysis/NAME beside the run. name: as of run_parser."""
    return Path(args.out).expanduser() if args.out else Path(args.run).expanduser().parent / "analysis" / name
