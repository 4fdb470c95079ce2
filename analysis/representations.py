"""Compare what lies between the blocks of models at several patch sizes: CKA of all pairs of layers, and a map of them.

python analysis/representations.py RUN --patch 16,8,4          # a flexible run, or a run with resampled weights
python analysis/representations.py RUN RUN RUN                 # runs with one patch size each
python analysis/representations.py timm:flexivit_small --patch 48,30,16 --data-root DIR
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.report.figure_options import add_figure_options, as_chosen
from analysis.report.output import Parser, print_wrapped, until_closed, write_files
from analysis.report.patch_option import patch_sizes
from analysis.report.recipes_option import add_recipes
from analysis.similarity.cka import FEWEST, gram
from scaling.config.model import TIMM
from scaling.errors import ConfigError

# torch, pandas and matplotlib are imported where they are used, so that --help and errors of options are immediate.

MINI_BATCH = 64  # images, at most


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0, or 2 with one line on stderr for unusable input."""
    try:
        args = _parser().parse_args(argv)
        patches = patch_sizes(args.patch)
        if args.images < FEWEST:
            raise ConfigError(f"--images {args.images} is too few: CKA needs {FEWEST} or more")
        if args.data_root is None and all(model.startswith(TIMM) for model in args.models):
            raise ConfigError("timm's weights have no test images: give a folder of images, --data-root DIR, or a run")
        with as_chosen(args):
            _report(args, patches)
    except ConfigError as e:
        print(f"representations: {e}", file=sys.stderr)
        return 2
    return 0


def _report(args: argparse.Namespace, patches: list[int]) -> None:
    """Compare, print and write."""
    from analysis.plots.representations import figures
    from analysis.report.similarity_text import summary
    from analysis.similarity.similarities import Model, compared, files_of, labels
    from scaling.comparison.images import images_below, images_of_run
    from scaling.comparison.mini_batches import mini_batches
    from scaling.comparison.models import PATCH_WORD, open_models

    models = open_models(args.models, patches)
    runs = [Path(model) for model in args.models if not model.startswith(TIMM)]
    if args.data_root is not None:
        images = images_below(models, Path(args.data_root).expanduser(), args.images)
    else:
        images = images_of_run(models, runs[0], args.images)
    short = labels([model.words for model in models], PATCH_WORD)
    named = [Model(model.source, label, model.patch) for model, label in zip(models, short, strict=True)]
    found = compared(named, mini_batches(models, images, MINI_BATCH, gram))
    results = runs[0].parent if runs else Path("results")
    out = Path(args.out).expanduser() if args.out else results / "analysis" / "representations"
    written = write_files(out, files_of(found) | figures(found))
    print("\n".join(summary(found, args.images, min(model.grid for model in models))))
    print_wrapped(f"wrote to {out}: {', '.join(path.name for path in written)}", indent=2)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="representations.py",
        description="CKA between the layers of models at several patch sizes, arccos of it as a distance, and a map.",
    )
    parser.add_argument(
        "models", nargs="+", metavar="MODEL", help="folder of a finished run, or timm:NAME (pretrained weights)"
    )
    parser.add_argument(
        "--patch",
        metavar="P,P",
        help="patch sizes [px], separated by commas, for flexible runs, timm:NAME and a run that is given alone (its "
        "kernel and positions are resampled); several runs with one patch size each are compared at their own",
    )
    parser.add_argument("--images", metavar="N", type=int, default=512, help="number of images (default: %(default)s)")
    parser.add_argument(
        "--data-root", metavar="DIR", help="folder of images to use in place of the test images of the first run"
    )
    add_recipes(parser)
    parser.add_argument("--out", metavar="DIR", help="folder to write to (default: analysis/representations there)")
    add_figure_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(until_closed(main))
