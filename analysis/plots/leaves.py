"""Figure of adaptive patches: the leaves of quadtrees, drawn over their images."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

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
    figure = Figure(figsize=(1.55 * count + 0.6, 1.6 * (1 + len(leaves)) + 0.2), layout="constrained")
    rows = figure.subplots(1 + len(leaves), count, squeeze=False)
    for spots, (name, of_images) in zip(rows, {"image": [[]] * count, **leaves}.items(), strict=True):
        for axes, image_HWC, its in zip(spots, image_BHWC, of_images, strict=True):
            axes.imshow(image_HWC, interpolation="none")
            squares = [Rectangle((leaf.left - 0.5, leaf.top - 0.5), leaf.side, leaf.side) for leaf in its]
            axes.add_collection(PatchCollection(squares, facecolor="none", edgecolor=LINE, linewidth=0.8))
            axes.set_xticks([])
            axes.set_yticks([])
            if its:
                axes.set_xlabel(f"{len(its)} leaves", fontsize=8)
        spots[0].set_ylabel(name, fontsize=10)
    return figure
