"""BatchNorm of a run by patch size: the loss with the statistics of each batch, as in training, and with running ones,
as in evaluation.

python analysis/batch_statistics.py RUN                   # at the patch sizes that it was evaluated at
python analysis/batch_statistics.py RUN --patch 8,4,2     # at these
python analysis/batch_statistics.py RUN --batch 8         # with statistics of 8 images
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.report.output import Parser, print_wrapped, until_closed, write_files
from analysis.report.run_at_patches import measured, output_folder, run_parser

# torch, pandas and matplotlib are imported where they are used, so that --help and errors of options are immediate.

HEADS = "patch [px]", "running [nats]", "batch [nats]", "gap [nats]", "shift [sd]", "variance [x]"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0, or 2 with one line on stderr for unusable input."""
    return measured(_parser(), _report, argv)


def _report(args: argparse.Namespace, patches: list[int]) -> None:
    """Measure, print and write."""
    import pandas as pd

    from analysis.plots.batch_statistics import batch_statistics_figure
    from analysis.plots.style import files
    from scaling.comparison.batch_statistics import batch_statistics, surfaces_of_batches

    run = Path(args.run).expanduser()
    surfaces = surfaces_of_batches(run, patches, args.images, args.batch)
    batch = len(surfaces[0].batches[0])
    found = [batch_statistics(surface) for surface in surfaces]
    table = pd.DataFrame(
        {
            "run_id": run.resolve().name,
            "images": args.images,
            "batch": batch,
            "patch": one.patch,
            "loss_running": one.loss_running,
            "loss_batch": one.loss_batch,
            "gap": one.gap,
            "mean_shift": one.mean_shift,
            "variance_factor": one.variance_factor,
        }
        for one in found
    )
    out = output_folder(args, "batch_statistics")
    written = write_files(
        out,
        {
            "batch_statistics.csv": table.to_csv(index=False, float_format="%.6g").encode(),
            **files("batch_statistics", batch_statistics_figure(table)),
        },
    )
    print_wrapped(
        f"BatchNorm of {run.resolve().name} on {args.images:,} test images, {batch} in a batch: loss with running "
        "statistics and with those of each batch; how far the statistics of batches are from the running ones.",
        indent=0,
    )
    widths = [max(10, len(head)) for head in HEADS]
    print("\n" + " ".join(head.rjust(width) for head, width in zip(HEADS, widths, strict=True)))
    for one in found:
        losses = f"{one.loss_running:.4f}", f"{one.loss_batch:.4f}", f"{one.gap:+.4f}"
        cells = str(one.patch), *losses, f"{one.mean_shift:.3f}", f"{one.variance_factor:.3f}"
        print(" ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)))
    print()
    print_wrapped(f"wrote to {out}: {', '.join(path.name for path in written)}", indent=2)


def _parser() -> Parser:
    parser = run_parser(
        "batch_statistics",
        "Test loss of a run with BatchNorm, with running statistics and with those of each batch, by patch size.",
        images=512,
    )
    parser.add_argument(
        "--batch", metavar="N", type=int, help="number of images in a batch (default: that of a training step)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(until_closed(main))
