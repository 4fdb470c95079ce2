"""Figure of adaptive patches: the leaves of quadtrees, drawn over their images."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from analysis.plots.printed import chosen
from analysis.plots.style import LABEL, SMALLEST, panel_rows

LINE = "#ffd400"  # seen on the grey backgrounds of shapes


class Leaf(NamedTuple):
    """A square of an image [px]."""

    top: int
    left: int
    side: int


def leaves_figure(image_BHWC: NDArray[np.uint8], leaves: Mapping[str, Sequence[Sequence[Leaf]]]) -> Figure:
    """A column per image, and a row for the images and for each kind of tree. leaves: of each image, by the name of the
    row."""
    count = len(image_BHWC)
    side = (chosen().inches - 0.3) / count  # of an image [inches]
    figure, rows = panel_rows((1 + len(leaves)) * (side + 0.12), 1 + len(leaves), count)
    for spots, (name, of_images) in zip(rows, {"image": [[]] * count, **leaves}.items(), strict=True):
        for axes, image_HWC, its in zip(spots, image_BHWC, of_images, strict=True):
            axes.imshow(image_HWC, interpolation="none")
            squares = [Rectangle((leaf.left - 0.5, leaf.top - 0.5), leaf.side, leaf.side) for leaf in its]
            axes.add_collection(PatchCollection(squares, facecolor="none", edgecolor=LINE, linewidth=0.8))
            axes.set_xticks([])
            axes.set_yticks([])
            if its:
                axes.set_xlabel(f"{len(its)} leaves", fontsize=SMALLEST)
        spots[0].set_ylabel(name, fontsize=LABEL)
    return figure
