"""Samples of shapes, the generated data set: python experiments/sample_sheet.py FILE [--size 32]."""

import argparse
import sys

import numpy as np

from analysis.plots.studies import Figure, sample_sheet
from analysis.report.output import until_closed
from scaling.data.generated import generated_shapes


def sheet(size: int = 32) -> Figure:
    """A figure with two images of each class, size px wide."""
    batch = generated_shapes.render(0, np.arange(2000), size)
    first = [int(np.flatnonzero(batch.label_B == label)[0]) for label in range(len(generated_shapes.CLASSES))]
    second = [int(np.flatnonzero(batch.label_B == label)[1]) for label in range(len(generated_shapes.CLASSES))]
    order = np.array(first + second)
    titles = [generated_shapes.CLASSES[label] for label in batch.label_B[order]]
    return sample_sheet(batch.image_BHWC[order], titles, columns=12)


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("path", help="file to write, such as shapes.png")
    p.add_argument("--size", type=int, default=32, help="side of an image [px]")
    args = p.parse_args()
    sheet(args.size).savefig(args.path, dpi=90, bbox_inches="tight")
    return 0


if __name__ == "__main__":
    sys.exit(until_closed(main))
