"""Adaptive patch embedding: tokens of patches of several sizes, the leaves of a quadtree of each image (quadtree.py).

One kernel of the side of the coarsest leaves is resized to every size by its pseudo-inverse (FlexiViT, arXiv
2212.08013), so all pixels of a leaf count, whatever its size; leaves reduced to the finest size, as in APF, would leave
a coarse one its mean colours alone. A learned vector of the size is added; it is 0 at the start, so that trees of one
size are the flexible embedding at that patch. The leaf's place is that of a patch in the grid of its size, for every
position encoding.

Leaves are in the order of their centres, row by row: trees of one size are the sequence of that patch, and what
Adventurer's scan sees differs from it by the patches alone. Images are in packed rows, as their numbers of leaves
differ. B images, C channels, H W pixels, h w nodes of a size along an image, L leaves of all images, D width.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scaling.backbones import quadtree
from scaling.backbones.base import TokenLayout
from scaling.backbones.patch_embed import KERNEL, Images, PatchEmbed, check_image
from scaling.backbones.resampling import BICUBIC, Filter, enlarge_kernel, resize_kernel
from scaling.config.embed_shapes import leaf_sides
from scaling.errors import ConfigError
from scaling.packing.leaf_rows import leaf_rows
from scaling.packing.packed_images import PackedImages
from scaling.packing.packed_rows import PackedRows

SIZES = "patch_embed.size_embed"  # in checkpoints


class AdaptivePatchEmbed(PatchEmbed):
    """patch_size is the side of the finest leaves, and layouts are in units of it."""

    def __init__(
        self,
        channels: int,
        width: int,
        image: int,
        patch_size: int,
        coarsest_leaf: int | None = None,
        leaf_share: float = 0.25,
        split_threshold: float = 0.0,
        split_by: str = "variance",
    ) -> None:
        """The options are those of the part of the configuration (scaling/config/patch_embeds.py), which checks
        them."""
        super().__init__(channels, width, image, patch_size)
        self.sides = leaf_sides(patch_size, coarsest_leaf or 4 * patch_size)
        self.leaf_share, self.split_threshold, self.split_by = leaf_share, split_threshold, split_by
        self.proj = nn.Conv2d(channels, width, self.sides[0], self.sides[0])
        self.size_embed = nn.Parameter(torch.zeros(len(self.sides), width))

    def forward(self, image_BCHW: Images, patch_size: int | None = None) -> tuple[Tensor, TokenLayout]:
        if patch_size not in (None, self.patch_size):
            raise ConfigError(f"patch {patch_size} differs from {self.patch_size}, that of the finest leaves")
        if isinstance(image_BCHW, PackedImages):
            raise ConfigError("an adaptive embedding packs its own leaves, and takes no packed images")
        check_image(image_BCHW, self.sides[0])
        found, order_L, rows = self.leaves(image_BCHW.detach())
        tokens = [self._embedded(image_BCHW, n, at_n3) for n, at_n3 in enumerate(found)]
        layout = TokenLayout(self.patch_size, image_BCHW.device, rows=rows)
        return torch.cat(tokens).index_select(0, order_L).unsqueeze(0), layout

    def convert_state_dict(self, state: dict[str, Tensor], how: Filter = BICUBIC) -> dict[str, Tensor]:
        """A kernel of another side, resized; that of a smaller one has the same tokens at its own patch size. Other
        embeddings' weights have no vectors of sizes: these are 0. Raises ConfigError for other sizes of leaves."""
        kernel, sizes = state.get(KERNEL), state.get(SIZES, torch.zeros_like(self.size_embed))
        if kernel is None:
            return state
        if sizes.shape != self.size_embed.shape:
            raise ConfigError(
                f"these weights have leaves of {len(sizes)} sizes, and this embedding of {len(self.sides)}"
            )
        if kernel.shape[-1] != self.sides[0]:
            change = enlarge_kernel if kernel.shape[-1] < self.sides[0] else resize_kernel
            kernel = change(kernel, self.sides[0])
        return {**state, KERNEL: kernel, SIZES: sizes}

    def _embedded(self, image_BCHW: Tensor, level: int, at_n3: Tensor) -> Tensor:
        """Tokens of the leaves of one size, in the order of at_n3: image, row and column among nodes of this size."""
        side = self.sides[level]
        nodes_BhwCpp = image_BCHW.unflatten(3, (-1, side)).unflatten(2, (-1, side)).permute(0, 2, 4, 1, 3, 5)
        kernel_DX = resize_kernel(self.proj.weight, side).flatten(1)
        pixels_nX = nodes_BhwCpp[at_n3.unbind(1)].flatten(1)
        return F.linear(pixels_nX, kernel_DX, self.proj.bias) + self.size_embed[level]

    @torch.compiler.disable
    @torch.no_grad()
    def leaves(self, image_BCHW: Tensor) -> tuple[list[Tensor], Tensor, PackedRows]:
        """Image, row and column of the leaves of each size (n, 3), coarse to fine; the order of all leaves, from size
        by size to image by image; their rows, without class tokens."""
        masks = quadtree.leaves(image_BCHW, self.sides, self.leaf_share, self.split_threshold, self.split_by)
        h, w = masks[-1].shape[1:]
        found = [mask_Bhw.nonzero() for mask_Bhw in masks]
        keys, indices, first, whole = [], [], 0, sum(mask_Bhw[0].numel() for mask_Bhw in masks)
        for at_n3, mask_Bhw, side in zip(found, masks, self.sides, strict=True):
            image_n, y_n, x_n = at_n3.unbind(1)
            half = side // self.patch_size  # side of half a leaf, in halves of the finest
            keys.append((image_n * 2 * h + (2 * y_n + 1) * half) * 2 * w + (2 * x_n + 1) * half)
            indices.append(image_n * whole + first + y_n * mask_Bhw.shape[2] + x_n)
            first += mask_Bhw[0].numel()
        order_L = torch.cat(keys).argsort()
        index_L = torch.cat(indices).index_select(0, order_L).cpu().numpy()
        borders = np.searchsorted(index_L // whole, np.arange(1, len(image_BCHW)))
        return found, order_L, leaf_rows((h, w), len(masks), tuple(np.split(index_L % whole, borders)))


def leaf_counts(rows: PackedRows) -> list[int]:
    """Leaves of each size of all images of rows, from coarse to fine."""
    assert rows.kept is not None
    ends = np.cumsum([h * w for h, w in rows.pyramid(0)])
    return np.bincount(np.searchsorted(ends, np.concatenate(rows.kept), side="right"), minlength=rows.levels).tolist()
