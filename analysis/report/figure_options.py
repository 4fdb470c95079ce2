"""The options of all programs that write figures: --width and --figures."""

import argparse
from contextlib import AbstractContextManager

from analysis.plots.printed import FORMATS, USUAL, WIDTHS, check, printed


def add_figure_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--figures",
        metavar="FORMATS",
        default=",".join(USUAL.formats),
        help=f"of figures: {', '.join(FORMATS)} (default: {','.join(USUAL.formats)})",
    )
    parser.add_argument(
        "--width",
        metavar="WIDTH",
        default=USUAL.width,
        help=f"of figures: {', '.join(WIDTHS)} (default: {USUAL.width})",
    )


def as_chosen(args: argparse.Namespace) -> AbstractContextManager[None]:
    """The context in which the figures of the program are drawn. Raises ConfigError, before it is entered, for an
    unknown width or format."""
    width, formats = args.width, [word.strip() for word in args.figures.split(",") if word.strip()]
    check(width, formats)
    return printed(width, formats)
