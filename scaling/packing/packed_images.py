"""PackedImages: the patches of images of any sizes, and the rows in which a backbone is to see them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scaling.config.fields import check_name
from scaling.errors import ConfigError
from scaling.packing.packed_rows import Index, PackedRows, patch_counts
from scaling.packing.row_plan import PLANS


@dataclass(frozen=True, eq=False)
class PackedImages:
    """Patches of N images. L patches of all images, P = C * patch * patch values of a patch, channels outermost."""

    patch_LP: Tensor  # by image, row by row within an image; uint8, or float32 once they are normalised
    rows: PackedRows
    patch_px: int

    def __len__(self) -> int:
        return len(self.rows.grids)

    def images(self) -> list[Tensor]:
        """(C, H, W) of each image, none of whose patches is left out."""
        parts = self.patch_LP.split([h * w for h, w in self.rows.grids])
        return [image_of(x_LP, grid, self.patch_px) for x_LP, grid in zip(parts, self.rows.grids, strict=True)]

    def map(self, change: Callable[[Tensor], Tensor]) -> "PackedImages":
        """With other values or on another device."""
        return replace(self, patch_LP=change(self.patch_LP))


def pack(
    images: Sequence[Tensor],
    patch_px: int,
    sequence_length: int,
    class_tokens: tuple[int, int] = (0, 0),
    plan: str = "balanced",
    trim: bool = True,
    kept: tuple[Index, ...] | None = None,
) -> PackedImages:
    """Images (C, H, W) as rows of at most sequence_length tokens. class_tokens: of each image, before and after its
    patches. plan: name of a plan in row_plan.py. trim: rows end where the longest of them does. kept: of each image,
    which of its patches are kept, ascending (token_drop.py); None: all. Raises ConfigError where a patch does not
    divide an image, and for an image that is longer than a row."""
    check_name("packing plan", plan, PLANS)
    grids = []
    for image_CHW in images:
        height, width = image_CHW.shape[1:]
        if height % patch_px or width % patch_px:
            raise ConfigError(f"patches of {patch_px} px do not tile an image of {height} x {width} px")
        grids.append((height // patch_px, width // patch_px))
    lengths = [patches + sum(class_tokens) for patches in patch_counts(grids, kept)]
    planned = PLANS[plan](lengths, sequence_length)
    used = max((sum(lengths[image] for image in row) for row in planned), default=0)
    rows = PackedRows(planned, tuple(grids), *class_tokens, used if trim else sequence_length, kept)
    patches = [patches_of(image_CHW, patch_px) for image_CHW in images]
    if kept is not None:
        patches = [x_LP[torch.from_numpy(of_image)] for x_LP, of_image in zip(patches, kept, strict=True)]
    return PackedImages(torch.cat(patches), rows, patch_px)


def patches_of(image_CHW: Tensor, patch_px: int) -> Tensor:
    """(h * w, C * p * p): the patches of an image row by row, each with its channels outermost."""
    channels, height, width = image_CHW.shape
    h, w, p = height // patch_px, width // patch_px, patch_px
    return image_CHW.view(channels, h, p, w, p).permute(1, 3, 0, 2, 4).reshape(h * w, channels * p * p)


def image_of(patch_LP: Tensor, grid: tuple[int, int], patch_px: int) -> Tensor:
    """(C, H, W) of its patches: the inverse of patches_of. grid: rows and columns of patches."""
    (h, w), p = grid, patch_px
    return patch_LP.view(h, w, -1, p, p).permute(2, 0, 3, 1, 4).reshape(-1, h * p, w * p)
