"""PatchBuckets: the patches of packed images, images with equal numbers of patches side by side, so that what a head
computes for each image is one batch per number. N images, L patches of all images, n images of t patches in a bucket.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scaling.packing.packed_rows import PackedRows


@dataclass(frozen=True, eq=False)
class PatchBuckets:
    """by_count_L: the patches, images with few patches first. counts: (images, patches of each) of each bucket, in this
    order. back_N: where each image of the batch is in it."""

    by_count_L: Tensor
    counts: tuple[tuple[int, int], ...]
    back_N: Tensor

    def of_each_image(self, function: Callable[[Tensor], Tensor], x_LD: Tensor) -> Tensor:
        """(N, ...): function, from patches (n, t, D) to a row per image (n, ...), of patches image by image (L, D)."""
        x_LD, found, first = x_LD.index_select(0, self.by_count_L), [], 0
        for images, patches in self.counts:
            found.append(function(x_LD[first : first + images * patches].unflatten(0, (images, patches))))
            first += images * patches
        return torch.cat(found).index_select(0, self.back_N)


@functools.lru_cache(maxsize=8)
def patch_buckets(rows: PackedRows, device: torch.device) -> PatchBuckets:
    """Of the images of rows, whatever their class tokens."""
    count_N = np.array(rows.patch_counts, np.int64)
    order_N = np.argsort(count_N, kind="stable")
    firsts_N = np.cumsum(count_N) - count_N
    by_count_L = np.concatenate([np.arange(firsts_N[i], firsts_N[i] + count_N[i]) for i in order_N])
    patches, images = np.unique(count_N, return_counts=True)
    counts = tuple((int(n), int(t)) for n, t in zip(images, patches, strict=True))
    with torch.inference_mode(False):  # of inference tensors, no gradient could be taken afterwards
        index_L, back_N = (torch.from_numpy(x).to(device) for x in (by_count_L, np.argsort(order_N)))
    return PatchBuckets(index_L, counts, back_N)
