"""PackedRows: which token of which image is in which place of rows that hold several images.

The tokens of an image are neighbours in one row, in the order class tokens before, patches row by row, class tokens
after. Images of a row are in the order of the batch; padding is at the end of a row. Patches may be left out
(token_drop.py): those that are kept are in the same order, and have the places that they have in the whole image. Where
patches have several sizes (the leaves of a quadtree), a whole image is a pyramid of grids, one after the other from
coarse to fine, and those that are kept tile it once.

N images, R rows, S tokens of a row, T tokens of all images (padding is none), L patches of all images, those left out
in neither.
Order of lists: `by image` is the batch's order; `by length` has images of equal numbers of tokens side by side, so that
attention within each image is one batched product per length.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scaling.packing.row_plan import Rows

Index = NDArray[np.int64]


class Bucket(NamedTuple):
    """Images of equal length in the list of tokens by length."""

    images: int  # how many
    tokens: int  # of each, class tokens among them


def pyramid(grid: tuple[int, int], levels: int) -> list[tuple[int, int]]:
    """The grids of an image from coarse to fine, each with half the rows and columns of the next; grid: the finest."""
    return [(grid[0] >> n, grid[1] >> n) for n in range(levels - 1, -1, -1)]


def patch_counts(grids: Sequence[tuple[int, int]], kept: Sequence[Index] | None) -> list[int]:
    """Patches of each image. Arguments as of PackedRows."""
    return [h * w for h, w in grids] if kept is None else list(map(len, kept))


@dataclass(frozen=True, eq=False)
class PackedRows:
    """rows: images of each row (row_plan.py). grids: rows and columns of patches of each image. leading, trailing:
    class tokens of each image, before and after its patches. row_length: S. kept: of each image, which of its patches
    there are, in their order in the row; None: all of all images. levels: grids of an image, the finest of which is in
    grids."""

    rows: Rows
    grids: tuple[tuple[int, int], ...]
    leading: int
    trailing: int
    row_length: int
    kept: tuple[Index, ...] | None = None
    levels: int = 1

    def pyramid(self, image: int) -> list[tuple[int, int]]:
        """All grids of an image, from coarse to fine."""
        return pyramid(self.grids[image], self.levels)

    @functools.cached_property
    def whole_counts(self) -> list[int]:
        """Patches of each whole image, of all of its grids."""
        return [sum(h * w for h, w in self.pyramid(image)) for image in range(len(self.grids))]

    @functools.cached_property
    def patch_counts(self) -> list[int]:
        """Patches of each image."""
        return patch_counts(self.grids, self.kept)

    @functools.cached_property
    def lengths(self) -> list[int]:
        """Tokens of each image."""
        return [patches + self.leading + self.trailing for patches in self.patch_counts]

    @functools.cached_property
    def starts_N(self) -> Index:
        """Place of the first token of each image in the rows, one after the other (row * S + place)."""
        starts_N = np.zeros(len(self.grids), np.int64)
        for number, row in enumerate(self.rows):
            place = number * self.row_length
            for image in row:
                starts_N[image] = place
                place += self.lengths[image]
        return starts_N

    @functools.cached_property
    def order(self) -> list[int]:
        """Images by length."""
        return sorted(range(len(self.grids)), key=self.lengths.__getitem__)

    @functools.cached_property
    def buckets(self) -> list[Bucket]:
        """Of the list of tokens by length."""
        lengths, counts = np.unique(self.lengths, return_counts=True)
        return [Bucket(int(n), int(length)) for length, n in zip(lengths, counts, strict=True)]

    @functools.cached_property
    def borders(self) -> Index:
        """(N + 1,): where images begin and end in the list of tokens by length."""
        return np.concatenate([[0], np.cumsum([self.lengths[image] for image in self.order], dtype=np.int64)])

    @functools.cached_property
    def places_T(self) -> Index:
        """Place in the rows of every token, by length."""
        return self._places(self.order, 0, 0)

    @functools.cached_property
    def patches_L(self) -> Index:
        """Place in the rows of every patch, by image."""
        return self._places(range(len(self.grids)), self.leading, self.trailing)

    def class_tokens_N(self, number: int) -> Index:
        """Place in the rows of a class token of each image, by image. number: 0 to leading - 1 before the patches,
        then those after them."""
        skipped = number if number < self.leading else number + np.array(self.patch_counts, np.int64)
        return self.starts_N + skipped

    @functools.cached_property
    def kept_L(self) -> Index | None:
        """Index of every patch in a list of all patches of the whole images, by image. None: all are kept."""
        if self.kept is None:
            return None
        return self.indices_L(np.cumsum([0, *self.whole_counts])[:-1].tolist())

    def indices_L(self, firsts: Sequence[int]) -> Index:
        """Index of every patch, by image, in a list that has a whole image's from firsts on."""
        kept = self.kept if self.kept is not None else [np.arange(n) for n in self.whole_counts]
        return np.concatenate([first + index for first, index in zip(firsts, kept, strict=True)])

    @functools.cached_property
    def kept_T(self) -> Index | None:
        """Index of every token in a list of all tokens of the whole images, by length. None: all are kept."""
        if self.kept is None:
            return None
        parts, first = [], 0
        for image in self.order:
            last = first + self.leading + self.whole_counts[image]
            ends = np.arange(first, first + self.leading), np.arange(last, last + self.trailing)
            parts += [ends[0], first + self.leading + self.kept[image], ends[1]]
            first = last + self.trailing
        return np.concatenate(parts)

    @functools.cached_property
    def images_RS(self) -> Index:
        """Image of every token; N: padding. It never decreases along a row."""
        images = np.full(len(self.rows) * self.row_length, len(self.grids), np.int64)
        images[self.places_T] = np.repeat(self.order, [self.lengths[image] for image in self.order])
        return images.reshape(len(self.rows), self.row_length)

    def of_each_length(self, x_TD: Tensor) -> Iterator[Tensor]:
        """The images of each bucket (n, t, D) of a list by length (T, D)."""
        first = 0
        for images, tokens in self.buckets:
            yield x_TD[first : first + images * tokens].unflatten(0, (images, tokens))
            first += images * tokens

    def _places(self, images: Sequence[int], first: int, last: int) -> Index:
        """Places of the tokens of these images without their first and last ones."""
        parts = [np.arange(self.starts_N[i] + first, self.starts_N[i] + self.lengths[i] - last) for i in images]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def on(self, device: torch.device) -> "RowIndex":
        """The lists as tensors on a device; made once for each."""
        return _on(self, device)


@dataclass(frozen=True, eq=False)
class RowIndex:
    """PackedRows' lists as tensors."""

    places_T: Tensor
    patches_L: Tensor
    images_RS: Tensor
    borders: Tensor  # int32, as kernels of attention expect it
    kept_L: Tensor | None
    kept_T: Tensor | None

    def kept_patches(self, x_LD: Tensor) -> Tensor:
        """Those of all patches of the whole images, by image, that there are."""
        return x_LD if self.kept_L is None else x_LD.index_select(0, self.kept_L)

    def kept_tokens(self, x_TD: Tensor) -> Tensor:
        """Those of all tokens of the whole images, by length, that there are."""
        return x_TD if self.kept_T is None else x_TD.index_select(0, self.kept_T)

    def by_length(self, x_RSD: Tensor) -> Tensor:
        """(T, D) of rows (R, S, D)."""
        return x_RSD.flatten(0, 1).index_select(0, self.places_T)

    def to_rows(self, x_TD: Tensor) -> Tensor:
        """(R, S, D) of a list by length (T, D); zeros in padding."""
        return self._filled(self.places_T, x_TD)

    def patches(self, x_RSD: Tensor) -> Tensor:
        """(L, D) of rows."""
        return x_RSD.flatten(0, 1).index_select(0, self.patches_L)

    def patches_to_rows(self, x_LD: Tensor) -> Tensor:
        """(R, S, D) of the patches by image (L, D); zeros elsewhere."""
        return self._filled(self.patches_L, x_LD)

    def _filled(self, places: Tensor, x: Tensor) -> Tensor:
        zeros = x.new_zeros(self.images_RS.numel(), *x.shape[1:])
        return zeros.index_copy(0, places, x).unflatten(0, self.images_RS.shape)


@functools.lru_cache(maxsize=8)
def _on(rows: PackedRows, device: torch.device) -> RowIndex:
    def tensor(x: Index) -> Tensor:
        return torch.from_numpy(x).to(device, non_blocking=True)

    with torch.inference_mode(False):  # of inference tensors, no gradient could be taken afterwards
        return RowIndex(
            tensor(rows.places_T),
            tensor(rows.patches_L),
            tensor(rows.images_RS),
            tensor(rows.borders.astype(np.int32)),
            None if rows.kept_L is None else tensor(rows.kept_L),
            None if rows.kept_T is None else tensor(rows.kept_T),
        )
