"""Sharpness of a finished run by patch size: top eigenvalue of the Hessian of the test loss, and loss along a line.

python analysis/sharpness.py RUN                              # at the patch sizes that it was evaluated at
python analysis/sharpness.py RUN --patch 16,8,4 --images 512  # at these
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.report.output import Parser, counted, print_wrapped, until_closed, write_files
from analysis.report.run_at_patches import measured, output_folder, run_parser

# torch, pandas and matplotlib are imported where they are used, so that --help and errors of options are immediate.

POINTS = 21  # of the line, which ends where the direction has the norms of the model's filters, on both sides


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0, or 2 with one line on stderr for unusable input."""
    return measured(_parser(), _report, argv)


def _report(args: argparse.Namespace, patches: list[int]) -> None:
    """Measure, print and write."""
    import pandas as pd

    from analysis.plots.sharpness import sharpness_figure
    from analysis.plots.style import files
    from scaling.comparison.loss_surface import open_surfaces
    from scaling.comparison.sharpness import DIFFERENCES, sharpness

    run = Path(args.run).expanduser()
    distances = [2 * n / (POINTS - 1) - 1 for n in range(POINTS)]
    found = [sharpness(surface, distances, args.seed) for surface in open_surfaces(run, patches, args.images)]
    tops = pd.DataFrame(
        {
            "run_id": run.resolve().name,
            "patch": one.patch,
            "images": args.images,
            "loss": one.loss,
            "gradient_norm": one.gradient_norm,
            "eigenvalue": one.top.value,
            "residual": one.top.residual,
            "products": one.top.products,
            "hessian": one.hessian,
        }
        for one in found
    )
    lines = pd.DataFrame(
        {"run_id": run.resolve().name, "patch": one.patch, "distance": distance, "loss": loss}
        for one in found
        for distance, loss in zip(distances, one.losses, strict=True)
    )
    out = output_folder(args, "sharpness")
    written = write_files(
        out,
        {
            "sharpness.csv": tops.to_csv(index=False, float_format="%.6g").encode(),
            "line.csv": lines.to_csv(index=False, float_format="%.6g").encode(),
            **files("sharpness", sharpness_figure(tops, lines)),
        },
    )
    print_wrapped(f"Sharpness of {run.resolve().name} on {counted(args.images, 'test image')}.", indent=0)
    print(f"\n{'patch [px]':>10} {'loss [nats]':>12} {'top eigenvalue':>15} {'residual':>9} {'products':>9}")
    for one in found:
        top = one.top
        print(f"{one.patch:>10} {one.loss:>12.4f} {top.value:>15.4g} {top.residual:>9.2g} {top.products:>9}")
    print()
    if found[0].hessian == DIFFERENCES:
        print_wrapped(
            "Products with the Hessian are differences of gradients: autograd has no second derivative of a part of "
            "this model.",
            indent=0,
        )
    print_wrapped(f"wrote to {out}: {', '.join(path.name for path in written)}", indent=2)


def _parser() -> Parser:
    parser = run_parser(
        "sharpness",
        "Top eigenvalue of the Hessian of the test loss (Lanczos), and the loss along a random "
        "filter-normalised direction, at one patch size or several.",
        images=512,
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the direction (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(until_closed(main))
