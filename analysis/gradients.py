"""Gradients of a run by patch size: norm of their mean, variance over images and tokens, noise scale, and cosines.

python analysis/gradients.py RUN                              # at the patch sizes that it was evaluated at
python analysis/gradients.py RUN --patch 16,8,4 --images 512  # at these
python analysis/gradients.py RUN --weights start              # with the weights that the run began with
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.report.output import Parser, print_wrapped, until_closed, write_files
from analysis.report.run_at_patches import measured, output_folder, run_parser

if TYPE_CHECKING:
    from scaling.comparison.gradient_statistics import GradientStatistics

# torch, pandas and matplotlib are imported where they are used, so that --help and errors of options are immediate.

WEIGHTS = {"end": "at the end of training", "start": "at the start of training"}
ALL = "all"  # of the column group: all parameters


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0, or 2 with one line on stderr for unusable input."""
    return measured(_parser(), _report, argv, least=2)


def _report(args: argparse.Namespace, patches: list[int]) -> None:
    """Measure, print and write."""
    import pandas as pd

    from analysis.plots.gradients import gradients_figure
    from analysis.plots.style import files
    from scaling.comparison.gradient_statistics import gradient_statistics
    from scaling.comparison.loss_surface import open_surfaces

    run = Path(args.run).expanduser()
    surfaces = open_surfaces(run, patches, args.images, largest=1, trained=args.weights == "end")
    batch = surfaces[0].task.config.optim.global_batch_size
    found = gradient_statistics(surfaces)
    its = {"run_id": run.resolve().name, "weights": args.weights, "images": found.images}
    rows = [
        {
            **its,
            "patch": patch,
            "group": group,
            "loss": found.loss_P[k],
            "grad_signal": found.norm2_P(groups)[k],
            "grad_noise": found.variance_P(groups)[k],
            "noise_scale": found.noise_scale_P(groups)[k],
            "token_noise": found.token_variance_P[k],
        }
        for group, groups in [(ALL, ()), *((name, (name,)) for name in found.products)]
        for k, patch in enumerate(found.patches)
    ]
    table = pd.DataFrame(rows)
    cosine_PP, (per_step, per_image) = found.cosine_PP(), found.step_variances(batch)
    tables = {"gradients": table}
    if len(surfaces) > 1:
        pairs = [(j, k) for j in range(len(surfaces)) for k in range(j)]
        patch = found.patches
        tables["cosines"] = pd.DataFrame(
            {**its, "patch": patch[j], "other": patch[k], "cosine": cosine_PP[j, k]} for j, k in pairs
        )
        tables["steps"] = pd.DataFrame(
            [{**its, "batch": batch, "drawn_per_step": per_step, "drawn_per_image": per_image}]
        )
    out = output_folder(args, "gradients")
    written = write_files(
        out,
        {
            **{f"{name}.csv": one.to_csv(index=False, float_format="%.6g").encode() for name, one in tables.items()},
            **files("gradients", gradients_figure(table[table["group"] == ALL])),
        },
    )
    print_wrapped(f"Gradients of {its['run_id']} {WEIGHTS[args.weights]}, on {found.images:,} test images.", indent=0)
    _print(found, batch)
    print_wrapped(f"wrote to {out}: {', '.join(path.name for path in written)}", indent=2)


def _print(found: "GradientStatistics", batch: int) -> None:
    """The tables and what follows for a step."""
    heads = "patch [px]", "loss [nats]", "|mean|²", "of an image", "of a token", "noise scale [images]"
    widths = [max(10, len(head)) for head in heads]
    print("\n" + " " * (sum(widths[:3]) + 3) + "variance".center(widths[3] + widths[4] + 1).rstrip())
    print(" ".join(head.rjust(width) for head, width in zip(heads, widths, strict=True)))
    norm2_P, variance_P, scale_P = found.norm2_P(), found.variance_P(), found.noise_scale_P()
    for k, patch in enumerate(found.patches):
        numbers = norm2_P[k], variance_P[k], found.token_variance_P[k], scale_P[k]
        cells = str(patch), f"{found.loss_P[k]:.4f}", *(f"{number:.3g}" for number in numbers)
        print(" ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)))
    if len(found.patches) > 1:
        print("\ncosine of the mean gradients of blocks and head:")
        print(" " * 10 + "".join(f"{patch:>4} px" for patch in found.patches[:-1]))
        for j, cosine_P in enumerate(found.cosine_PP()[1:], 1):
            print(f"{found.patches[j]:>7} px" + "".join(f"{cosine:>7.2f}" for cosine in cosine_P[:j]))
        per_step, per_image = found.step_variances(batch)
        if per_step == per_step:  # no nan
            print()
            print_wrapped(
                f"Variance of the gradient of a step of {batch} images: {per_step:.3g} with a patch size drawn for "
                f"each step, {per_image:.3g} with one for each image.",
                indent=0,
            )
    print()


def _parser() -> Parser:
    parser = run_parser(
        "gradients",
        "Gradients of the test loss by patch size: squared norm of their mean, variance over images and "
        "tokens, noise scale, and cosines between patch sizes.",
        images=256,
    )
    parser.add_argument("--weights", choices=WEIGHTS, default="end", help="of the run's end or start (default: end)")
    return parser


if __name__ == "__main__":
    sys.exit(until_closed(main))
