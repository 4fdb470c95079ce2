"""Costs of the feature pyramid that UperNet and Cascade Mask R-CNN read (scaling/heads/feature_pyramid.py).

Source: arXiv 2203.16527. The pyramid has one map for each of FPN_STRIDES, as wide as the backbone.
"""

from collections.abc import Sequence

from scaling.costs.base import FLOAT, HeadInput
from scaling.model_specs import FPN_STRIDES, num_upsamples


def map_cells(sides: tuple[int, int], strides: Sequence[int]) -> list[int]:
    """Cells of an image's map at each of strides. sides: height and width [px]; strides [px]."""
    return [-(-sides[0] // stride) * -(-sides[1] // stride) for stride in strides]


def pyramid_flops(x: HeadInput) -> int:
    """FLOPs of the transposed convolutions of kernel 2 that double a map, which has the stride they are built for."""
    width, (cells,) = x.spec.width, map_cells(x.sides, (x.built_for,))
    each = [2 * 4 * width * width * cells * 4**n for n in range(num_upsamples(x.built_for, FPN_STRIDES[0]))]
    return sum(sum(each[: num_upsamples(x.built_for, stride)]) for stride in FPN_STRIDES)


def pyramid_parameters(x: HeadInput) -> int:
    """Parameters of the same, with bias, and of the norms between two of them."""
    width, times = x.spec.width, [num_upsamples(x.built_for, stride) for stride in FPN_STRIDES]
    return sum(n * (4 * width * width + width) + max(n - 1, 0) * 2 * width for n in times)


def pyramid_bytes(x: HeadInput, number: int, blocks: Sequence[int]) -> int:
    """Memory that the pyramid keeps, on a backbone of the stride that it is built for [bytes]. number: bytes of an
    activation; blocks: of the backbone, whose outputs become the maps."""
    d, read, total = x.spec.width, set(), 0
    for stride, block, cells in zip(FPN_STRIDES, blocks, map_cells(x.sides, FPN_STRIDES), strict=True):
        times = num_upsamples(x.patch, stride)
        if times or x.patch <= stride:
            read.add(block)  # the backbone's map: input of a transposed convolution, of pooling, or of what follows
        for n in range(1, times):  # between two: outputs of the convolution, of the norm, of GELU
            total += (2 * FLOAT + number) * 4**n * x.cells * d + 2 * FLOAT * 4**n * x.cells
        if x.patch != stride:  # else the map itself
            total += number * cells * d  # the input of the next convolution
    return total + number * len(read) * x.cells * d
