"""Figure of packed images in docs/packing.md."""

import numpy as np
import torch
from matplotlib.figure import Figure

from analysis.plots.packed_rows import packed_rows_figure
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
