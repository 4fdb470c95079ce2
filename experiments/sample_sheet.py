"""Samples of shapes, the generated data set: python experiments/sample_sheet.py FILE [--size 32]."""

import argparse
import sys
from pathlib import Path

import numpy as np

from analysis.plots.printed import FORMATS
from analysis.plots.studies import Figure, sample_sheet
from analysis.plots.style import picture
from analysis.report.output import until_closed, write_files
from scaling.config.fields import check_name
from scaling.data.generated import generated_shapes
from scaling.data.generated.palette_mosaic import SUB_PIXEL
from scaling.errors import ConfigError


def sheet(size: int = 32) -> Figure:
    """A figure with a row of images of each class, size px wide; cells get smaller to the right."""
    index = np.arange(4000)
    batch, scale_B = generated_shapes.render(0, index, size), generated_shapes.cell_scales(0, index, size)
    sides = [2**k for k in reversed(range(size.bit_length()))]
    columns = [*(f"{side} px" for side in sides), "below 1 px"]
    order, titles = [], []
    for label, name in enumerate(generated_shapes.CLASSES):
        for scale, column in zip([*(side.bit_length() - 1 for side in sides), SUB_PIXEL], columns, strict=True):
            order.append(int(np.flatnonzero((batch.label_B == label) & (scale_B == scale))[0]))
            titles.append(f"{name}, {column}")
    return sample_sheet(batch.image_BHWC[order], titles, columns=len(columns))


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("path", help="file to write, such as shapes.png")
    p.add_argument("--size", type=int, default=32, help="side of an image [px]")
    args = p.parse_args()
    path = Path(args.path).expanduser()
    try:
        check_name("format of figures", path.suffix.lower().removeprefix("."), FORMATS)
        write_files(path.parent, {path.name: picture(sheet(args.size), path.suffix.lower().removeprefix("."))})
    except ConfigError as e:
        print(f"sample_sheet: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(until_closed(main))
