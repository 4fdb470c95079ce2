"""The quadtree of an image: square patches of several sizes that tile it, small where there is detail.

The tree begins with all nodes of the coarsest size. The node of the highest score is split into four, then the next
one, up to a number of splits, and while the score is above a threshold. Scores of a node are never below those of the
nodes that it is split into, so the split nodes are simply those of the highest scores: one sort, no queue.

variance  squared error of the pixels of a node about their mean, summed over pixels and channels. It is merged from
          pairs of neighbours (Chan, Golub and LeVeque 1979): a sum of terms that are not negative, exactly 0 where all
          pixels are equal, and in floating-point numbers, too, never below that of a part
edges     squared central differences along rows and columns, summed over pixels and channels
turned    variance at the same place of the image turned by 180 degrees (a control)

Only element-wise operations in a fixed order and a stable sort: trees do not depend on the device, on threads or on the
batch. APF (arXiv 2404.09707) counts Canny's edges, under thresholds that it draws at random.
B images, C channels, H W pixels, h w nodes of a size along an image.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.config.embed_shapes import most_splits, stem_strides
from scaling.config.fields import check_name

Merge = Callable[[list[Tensor], int], Tensor]  # of neighbouring parts, and the pixels of each


def leaves(image_BCHW: Tensor, sides: list[int], share: float, threshold: float, split_by: str) -> list[Tensor]:
    """Which nodes are leaves: a mask (B, h, w) per side, from coarse to fine. sides: of leaf_sides [px], the first of
    which divides the image. share, threshold, split_by: fields of AdaptivePatchEmbed (scaling/config/patch_embeds.py).
    """
    check_name("split_by", split_by, SCORES)
    height, width = image_BCHW.shape[-2:]
    splits = most_splits((height // sides[-1], width // sides[-1]), len(sides), share)
    return leaf_masks(SCORES[split_by](image_BCHW, sides), splits, threshold)


def leaf_masks(scores: list[Tensor], splits: int, threshold: float) -> list[Tensor]:
    """Masks of the leaves from coarse to fine, one more than scores. scores: (B, h, w) of the nodes that can be split,
    from coarse to fine, each twice as many along a side as the one before. splits: most nodes that are split. Among
    equal scores the coarser one is first, then the first row by row."""
    flat_BM = torch.cat([score_Bhw.flatten(1) for score_Bhw in scores], 1)
    best_BM = flat_BM.sort(dim=1, descending=True, stable=True).indices[:, :splits]
    split_BM = torch.zeros_like(flat_BM, dtype=torch.bool).scatter(1, best_BM, True) & (flat_BM > threshold)
    parts = split_BM.split([score_Bhw[0].numel() for score_Bhw in scores], 1)
    there_Bhw, found = torch.ones_like(scores[0], dtype=torch.bool), []
    for part_BX, score_Bhw in zip(parts, scores, strict=True):
        split_Bhw = part_BX.view(score_Bhw.shape)
        found.append(there_Bhw & ~split_Bhw)
        there_Bhw = split_Bhw.repeat_interleave(2, 1).repeat_interleave(2, 2)
    return [*found, there_Bhw]


def variance_scores(image_BCHW: Tensor, sides: list[int]) -> list[Tensor]:
    """(B, h, w) of the nodes of each side but the finest, from coarse to fine."""

    def merge(parts: list[Tensor], pixels: int) -> Tensor:
        """Of pairs of mean and squared error, stacked."""
        mean = _sum([part[0] for part in parts]) * (1 / len(parts))  # torch divides like this on a GPU, not on a CPU
        error = _sum([part[1] + pixels * (part[0] - mean).square() for part in parts])
        return torch.stack([mean, error])

    pairs = torch.stack([image_BCHW, torch.zeros_like(image_BCHW)])
    return [_sum(list(pair[1].unbind(1))) for pair in _merged(pairs, sides, merge)]


def edge_scores(image_BCHW: Tensor, sides: list[int]) -> list[Tensor]:
    """(B, h, w) of the nodes of each side but the finest, from coarse to fine. Beyond the border the image continues
    with its last pixels."""
    around = F.pad(image_BCHW, (1, 1, 1, 1), mode="replicate")
    down = around[..., 2:, 1:-1] - around[..., :-2, 1:-1]
    across = around[..., 1:-1, 2:] - around[..., 1:-1, :-2]
    squares = (down / 2).square() + (across / 2).square()
    return _merged(_sum(list(squares.unbind(1))), sides, lambda parts, pixels: _sum(parts))


def turned_scores(image_BCHW: Tensor, sides: list[int]) -> list[Tensor]:
    """variance_scores, turned by 180 degrees."""
    return [score_Bhw.flip(-2, -1) for score_Bhw in variance_scores(image_BCHW, sides)]


def _merged(values: Tensor, sides: list[int], merge: Merge) -> list[Tensor]:
    """What `merge` makes of the values of neighbouring pixels (..., H, W), at each side but the finest, coarse to
    fine."""
    found, pixels = [], 1
    for factor in [*stem_strides(sides[-1]), *[2] * (len(sides) - 1)]:  # prime factors of the coarsest side
        for axis in (-2, -1):  # along the height, along the width
            values = merge(list(values.unflatten(axis, (-1, factor)).unbind(axis)), pixels)
            pixels *= factor
        found.append(values)
    return found[: -len(sides) : -1]


def _sum(parts: list[Tensor]) -> Tensor:
    """One after the other, so that the last bits do not depend on how a device sums."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


SCORES: dict[str, Callable[[Tensor, list[int]], list[Tensor]]] = {
    "variance": variance_scores,
    "edges": edge_scores,
    "turned": turned_scores,
}
