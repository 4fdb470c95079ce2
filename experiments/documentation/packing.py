"""Tables and figure of packed images in docs/packing.md."""

import numpy as np
import torch
from matplotlib.figure import Figure

from analysis.plots.packed_rows import packed_rows_figure
from experiments.documentation.data import numbers, table
from scaling.packing.packed_images import pack

GRIDS = ((4, 4), (2, 5), (3, 3), (5, 3), (2, 2), (3, 5), (1, 6))  # of the images of the figure


def rows_figure() -> Figure:
    """Seven images in rows of 32 tokens, by first-fit, a class token before the patches of each, as DeiT has it."""
    images = [torch.zeros(3, h, w, dtype=torch.uint8) for h, w in GRIDS]
    packed = pack(images, 1, 32, (1, 0), "first-fit", trim=False).rows
    class_RS = np.zeros(packed.images_RS.size, bool)
    class_RS[packed.class_tokens_N(0)] = True
    return packed_rows_figure(
        packed.images_RS, class_RS.reshape(packed.images_RS.shape), [f"{h} x {w}" for h, w in packed.grids]
    )


def sizes_table() -> list[str]:
    """Test loss by image size of runs on drawn sizes and on one size, mean ± standard deviation over seeds."""
    runs = numbers("packed_cifar10")
    head = [
        "backbone",
        "image sizes in training",
        "images seen",
        *(f"{size} px" for size in sorted(runs["size"].unique())),
    ]
    rows = []
    for (backbone, sizes, images), its in runs.groupby(["backbone", "image_sizes", "images"], sort=False):
        of_size = its.groupby("size")["test_loss"].agg(["mean", "std"])
        cells = [f"{mean:.3f} ± {sd:.3f}" for mean, sd in of_size.itertuples(index=False)]
        rows.append([str(backbone), str(sizes), f"{images:,}", *cells])
    return table(head, rows, left=(0, 1))
