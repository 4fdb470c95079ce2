"""The evidence of a class in the embedded data set: an object is a mosaic of the four hues of its class's palette.

The cells of a mosaic are squares of side S, a power of two of pixels. Each tile of 2 x 2 cells is grey, or holds the
four hues in random order, which sum to zero. So the means of p x p blocks hold nothing about the class where p >= 2 S,
and all of it where p <= S. S has the distribution P(S < p) = (p / (2 image))^EXPONENT, so halving p divides by
2^EXPONENT the share of objects of which nothing is decidable (ideal_observer.py). Integer arithmetic; numpy only.
Of a rectangle, image is the shorter side. B images, H W pixels, C = 3 channels.

Four choices are for models that learn from a few thousand images; the law of the ideal observer needs none of them.
An object of one cell has the first hue of its class: a linear model learns these, and the other hues from there. The
share of tiles that are not grey is 4 S / image, so their number falls slower than their size grows, and fine mosaics
are not easier than coarse ones for having more tiles. Contrast and luminance are random: without them, a class has few
different tiles, and models learn them by heart where one fills a patch. And equidistant hues (see _TWO_HUES).
"""

from itertools import permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling.rng import Word, splitmix64

EXPONENT = 0.6
SUB_PIXEL = -1  # the exponent of cells that no pixel resolves: the object is grey

# The first two of a class, red green blue about grey [levels of 255]; the other two are opposite to them. The channels
# of a hue sum to zero: luminance holds nothing about the class. Four hues 90 degrees apart have the mean and the
# covariance of any other four, so no linear filter, and no power of its output below the fourth, distinguishes the
# mosaics of two classes: a model has to see single cells.
_TWO_HUES = {
    "hue-0": ((53, -53, 0), (31, 30, -61)),
    "hue-30": ((61, -31, -30), (0, 53, -53)),
    "hue-60": ((53, 0, -53), (-30, 61, -31)),
}
PALETTES: dict[str, NDArray[np.int32]] = {
    name: np.array([*two, *(np.negative(hue) for hue in two)], np.int32) for name, two in _TWO_HUES.items()
}  # (4, C)
_CONTRAST = (128, 257)  # of the hues of a tile, ends before the second [1/256]
_LIGHT = 30  # luminance of a cell, uniform in +- this [levels]

_ORDERS = list(permutations(range(4)))
_FIRST = sum(order[0] == 0 for order in _ORDERS)  # so many orders, at the beginning, have the first hue first
# (classes, 24 orders, C, 2, 2): the tiles of a class, one pixel per cell.
_TILES = np.stack([palette[_ORDERS].swapaxes(1, 2).reshape(-1, 3, 2, 2) for palette in PALETTES.values()])

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio


class Objects(NamedTuple):
    """One object in each of B images."""

    key_B: Word  # of the object's random numbers
    kind_B: NDArray[np.integer]  # class
    scale_B: NDArray[np.integer]  # k of the cells' side 2^k [px], or SUB_PIXEL
    column_B: NDArray[np.integer]  # of the pixel in the object's middle; its tile is never grey
    row_B: NDArray[np.integer]

    def part(self, of_it: NDArray[np.intp]) -> "Objects":
        return Objects(
            self.key_B[of_it], self.kind_B[of_it], self.scale_B[of_it], self.column_B[of_it], self.row_B[of_it]
        )


def shares_below(size: int) -> NDArray[np.int64]:
    """P(S < p) for p = 1, 2, 4, ... up to the largest S, which fits into an image of this size [px]; [1/65536]."""
    sides = 2.0 ** np.arange(size.bit_length())
    return np.round(65536 * (sides / (2 * size)) ** EXPONENT).astype(np.int64)


def even_numbers(stream: Word, index: Word) -> Word:
    """(B,) 64-bit numbers, the multiples of the golden ratio: those of any n images in a row fill their range evenly.
    So n images have scales whose shares are exact to about 1 / n; those of independent draws vary by 1 / sqrt(n)."""
    return stream + index * _GOLDEN


def scales(number_B: Word, size: int) -> NDArray[np.int64]:
    """(B,) k of the cells of side S = 2^k [px], or SUB_PIXEL: quantiles of the distribution of S."""
    quantile_B = (number_B >> np.uint64(48)).astype(np.int64)
    return np.searchsorted(shares_below(size), quantile_B, side="right") + SUB_PIXEL


def mosaics(objects: Objects, sides: tuple[int, int]) -> NDArray[np.int16]:
    """(B, C, H, W) colours of whole images of one mosaic each, about grey [levels]. Tiles begin at the corner. sides:
    height and width [px]."""
    height, width = sides
    colour = np.zeros((len(objects.key_B), 3, height, width), np.int16)
    for scale in range(min(sides).bit_length()):
        of_it = np.flatnonzero(objects.scale_B == scale)
        if of_it.size:
            tiles = _tiles(objects.part(of_it), 1 << scale, sides)
            cells = tiles.transpose(0, 3, 1, 4, 2, 5).reshape(len(of_it), 3, 2 * tiles.shape[1], -1)
            colour[of_it] = cells.repeat(1 << scale, 2).repeat(1 << scale, 3)[:, :, :height, :width]
    return colour


def _tiles(objects: Objects, side: int, sides: tuple[int, int]) -> NDArray[np.int16]:
    """(B, rows, columns, C, 2, 2) the tiles of an image, one pixel per cell. side: of the cells [px]."""
    key_B, kind_B, _, column_B, row_B = objects
    down, across = (-(-length // (2 * side)) for length in sides)
    grid, count, size = (len(key_B), down, across), down * across, min(sides)
    orders = len(_ORDERS) if side < size else _FIRST  # one cell is all that is seen
    order = (_numbers(key_B, 2**33, count) * orders >> 16).reshape(grid)
    contrast = (_CONTRAST[0] + (_numbers(key_B, 2**34, count) * (_CONTRAST[1] - _CONTRAST[0]) >> 16)).reshape(grid)
    light = (_numbers(key_B, 2**35, 4 * count) * (2 * _LIGHT + 1) >> 16) - _LIGHT
    coloured = (_numbers(key_B, 2**36, count) < 65536 * 4 * side // size).reshape(grid)
    coloured[np.arange(len(key_B)), row_B // (2 * side), column_B // (2 * side)] = True
    hues = _TILES[kind_B[:, None, None], order]
    # Of the absolute values, which are rounded down alike: opposite hues still sum to zero.
    faded = np.sign(hues) * (abs(hues) * (coloured * contrast)[..., None, None, None] >> 8)
    return (faded + light.reshape(*grid, 1, 2, 2)).astype(np.int16)


def _numbers(key_B: Word, stream: int, count: int) -> NDArray[np.int32]:
    """(B, count) independent numbers below 65536, four from each 64-bit number."""
    numbers = np.arange(stream, stream + -(-count // 4), dtype=np.uint64)
    return splitmix64(key_B[:, None] + numbers).astype("<u8").view("<u2")[:, :count].astype(np.int32)
