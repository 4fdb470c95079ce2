"""Convolutions of the patch embeddings by patch size, and numbers of leaves of a quadtree: the models
(scaling/backbones) and their costs (scaling/costs) read the same lists. Standard library only.

p patch [px], D width of the backbone.
"""

import math
from typing import NamedTuple

STEM_KERNEL = 3  # of the convolutions of a stem (arXiv 2106.14881)
FEWEST_CHANNELS = 8  # of the first convolution of a stem


class Convolution(NamedTuple):
    """One convolution with bias, square in kernel and stride."""

    kernel: int  # [px], or cells of the map before
    stride: int
    inputs: int  # channels
    outputs: int

    @property
    def padding(self) -> int:
        """Zeros on each side, so that a map of n cells becomes one of n / stride: the kernel is centred on the cells
        that it replaces, or half a cell before, as in torch's and timm's stems."""
        return -(-(self.kernel - self.stride) // 2)

    @property
    def parameters(self) -> int:
        return self.outputs * (self.inputs * self.kernel**2 + 1)

    def flops(self, places: int) -> int:
        """FLOPs of a map of `places` outputs, two per multiply-add; the bias is not counted."""
        return 2 * self.kernel**2 * self.inputs * self.outputs * places


def overlapping_kernel(patch: int, kernel: int | None) -> int:
    """Side of the kernel of an overlapping embedding [px]. kernel: as configured; None: 2 p - 1, 7 at patch 4 and 3 at
    patch 2 as in PVT v2 (arXiv 2106.13797), and 3 at patch 1."""
    return max(2 * patch - 1, 3) if kernel is None else kernel


def stem_strides(patch: int) -> list[int]:
    """Strides of the convolutions of a stem: the prime factors of p, 2, 2, 2, 2 at patch 16; one of stride 1 at
    patch 1."""
    found, left, factor = [], patch, 2
    while left > 1:
        while left % factor == 0:
            found.append(factor)
            left //= factor
        factor += 1
    return found or [1]


def stem_convolutions(patch: int, width: int) -> list[Convolution]:
    """The convolutions of a stem, whose channels double from one to the next and end at D; the last one, of 1 x 1,
    makes tokens. The kernel of a stride that is larger than STEM_KERNEL is the stride itself."""
    strides, inputs = stem_strides(patch), 3
    found = []
    for n, stride in enumerate(strides, 1):
        outputs = max(width // 2 ** (len(strides) - n), min(FEWEST_CHANNELS, width))
        found.append(Convolution(max(STEM_KERNEL, stride), stride, inputs, outputs))
        inputs = outputs
    return [*found, Convolution(1, 1, inputs, width)]


def cross_scale_convolutions(patch: int, width: int, scales: int) -> list[Convolution]:
    """Kernels of p, 2 p, 4 p ... px at the stride of a patch, with D/2, D/4 ... channels each, the last two alike, so
    that D is their sum (arXiv 2108.00154, Table 1). At patch 1 the larger kernels have a pixel more, and so a centre.
    D must be a multiple of 2^(scales - 1)."""
    channels = [width // 2 ** min(n, scales - 1) for n in range(1, scales + 1)]
    sides = [patch * 2**n for n in range(scales)]
    return [
        Convolution(side + (patch == 1 and side > 1), patch, 3, outputs)
        for side, outputs in zip(sides, channels, strict=True)
    ]


def leaf_sides(finest: int, coarsest: int) -> list[int]:
    """Sides of the leaves of a quadtree from coarse to fine [px], each half of the one before. coarsest is a power of 2
    times finest."""
    return [finest << n for n in range((coarsest // finest).bit_length() - 1, -1, -1)]


def most_splits(grid: tuple[int, int], levels: int, share: float) -> int:
    """Nodes of the quadtree of an image that may be split, each into four. grid: rows and columns of the finest leaves;
    levels: sizes of leaves; share: most leaves, as a share of the finest ones."""
    finest = math.prod(grid)
    roots = finest // 4 ** (levels - 1)
    return (math.floor(share * finest + 1e-9) - roots) // 3


def most_leaves(grid: tuple[int, int], levels: int, share: float) -> int:
    """Leaves of an image that has most_splits: never more than the share."""
    return math.prod(grid) // 4 ** (levels - 1) + 3 * most_splits(grid, levels, share)
