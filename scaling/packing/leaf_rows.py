"""Rows of images whose patches are the leaves of quadtrees, and the maps that their values make.

L leaves of all N images, X values of a leaf, h w grid of the finest leaves.
"""

import torch.nn.functional as F
from torch import Tensor

from scaling.packing.packed_rows import Index, PackedRows, pyramid
from scaling.packing.row_plan import balanced

LONGEST = 8192  # tokens of a row, unless an image has more; as the default of sequence_length


def leaf_rows(
    grid: tuple[int, int], levels: int, kept: tuple[Index, ...], leading: int = 0, trailing: int = 0
) -> PackedRows:
    """Images of one size in balanced rows. grid: of the finest leaves; levels: sizes of leaves; kept: of each image,
    which patches of its pyramid are leaves; leading, trailing: class tokens of each image."""
    lengths = [len(leaves) + leading + trailing for leaves in kept]
    plan = balanced(lengths, max(LONGEST, *lengths))
    longest = max(sum(lengths[image] for image in row) for row in plan)
    return PackedRows(plan, (grid,) * len(kept), leading, trailing, longest, kept, levels)


def with_class_tokens(rows: PackedRows, leading: int, trailing: int) -> PackedRows:
    """Rows of leaves, planned again for so many class tokens of each image."""
    assert rows.kept is not None
    return leaf_rows(rows.grids[0], rows.levels, rows.kept, leading, trailing)


def leaf_map(rows: PackedRows, x_LX: Tensor) -> Tensor:
    """(N, X, h, w), contiguous: every cell has the values of the leaf that covers it. x_LX: image by image."""
    index_L = rows.on(x_LX.device).kept_L
    assert index_L is not None
    whole_MX = x_LX.new_zeros(sum(rows.whole_counts), x_LX.shape[1]).index_copy(0, index_L, x_LX)
    grids, map_NXhw = pyramid(rows.grids[0], rows.levels), None
    parts = whole_MX.unflatten(0, (len(rows.grids), -1)).split([h * w for h, w in grids], 1)
    for grid, part_NMX in zip(grids, parts, strict=True):
        own_NXhw = part_NMX.transpose(1, 2).unflatten(2, grid)
        map_NXhw = own_NXhw if map_NXhw is None else own_NXhw + F.interpolate(map_NXhw, scale_factor=2)
    assert map_NXhw is not None
    return map_NXhw.contiguous()
