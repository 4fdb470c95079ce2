"""The evidence of a class in the embedded data set: an object is a mosaic of the four colours of its class's palette.

The cells of a mosaic are squares of side S, a power of two of pixels. Each tile of 2 x 2 cells holds its four colours
in random order, and they sum to zero. So the means of p x p blocks hold nothing about the class where p >= 2 S, and all of
it where p <= S. S has the distribution P(S < p) = (p / (2 image))^EXPONENT, so halving p divides by 2^EXPONENT the
share of objects of which nothing is decidable (ideal_observer.py). Integer arithmetic; numpy only.
B images, H W pixels, C = 3 channels.
"""

from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from scaling.rng import Word, splitmix64

EXPONENT = 0.6
SUB_PIXEL = -1  # the exponent of cells that no pixel resolves: the object is grey

# The colours of the cells of a class, red green blue about grey [levels of 255]: four hues 90 degrees apart. Opposite
# hues sum to zero, and so do the channels of a hue: luminance holds nothing of the class. Four equidistant hues have the
# mean and the covariance of any other four, so no linear filter, and no power of its output below the fourth, tells
# classes apart: a model has to see single cells.
_TWO_HUES = {
    "hue-0": ((53, -53, 0), (31, 30, -61)),
    "hue-30": ((61, -31, -30), (0, 53, -53)),
    "hue-60": ((53, 0, -53), (-30, 61, -31)),
}
PALETTES: dict[str, NDArray[np.int32]] = {
    name: np.array([*two, *(np.negative(hue) for hue in two)], np.int32) for name, two in _TWO_HUES.items()
}  # (4, C)
# Without these two, a mosaic of a class has few different tiles, and models learn them by heart where they fill a patch.
_CONTRAST = (128, 257)  # of the colours of a tile [1/256]
_LIGHT = 30  # luminance of a cell, uniform in +- this [levels]

_ORDERS = list(permutations(range(4)))
# (classes, 24 orders, C, 2, 2): the tiles of a class, one pixel per cell.
_TILES = np.stack([palette[_ORDERS].swapaxes(1, 2).reshape(24, 3, 2, 2) for palette in PALETTES.values()])

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio


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


def mosaics(key_B: Word, kind_B: NDArray[np.integer], scale_B: NDArray[np.integer], size: int) -> NDArray[np.int16]:
    """(B, C, H, W) colours of whole images of one mosaic each, about grey [levels]. Tiles begin at the image's corner."""
    colour = np.zeros((len(key_B), 3, size, size), np.int16)
    for scale in range(size.bit_length()):
        of_it = np.flatnonzero(scale_B == scale)
        if of_it.size:
            side = 1 << scale
            tiles = _tiles(key_B[of_it], kind_B[of_it], -(-size // (2 * side)))
            rows = tiles.transpose(0, 3, 1, 4, 2, 5).reshape(len(of_it), 3, 2 * tiles.shape[1], -1)
            colour[of_it] = rows.repeat(side, 2).repeat(side, 3)[:, :, :size, :size]
    return colour


def _tiles(key_B: Word, kind_B: NDArray[np.integer], across: int) -> NDArray[np.int16]:
    """(B, across, across, C, 2, 2) tiles in rows and columns, one pixel per cell."""
    grid, last = (len(key_B), across, across), (1, 1, 1)
    order = (_numbers(key_B, 2**33, across**2) * 24 >> 16).reshape(grid)
    contrast = _CONTRAST[0] + (_numbers(key_B, 2**34, across**2) * (_CONTRAST[1] - _CONTRAST[0]) >> 16)
    light = (_numbers(key_B, 2**35, 4 * across**2) * (2 * _LIGHT + 1) >> 16) - _LIGHT
    hues = _TILES[kind_B[:, None, None], order]
    # Of the absolute values, which are rounded down alike: opposite hues still sum to zero.
    faded = np.sign(hues) * (abs(hues) * contrast.reshape(grid + last) >> 8)
    return (faded + light.reshape(*grid, 1, 2, 2)).astype(np.int16)


def _numbers(key_B: Word, stream: int, count: int) -> NDArray[np.int32]:
    """(B, count) independent numbers below 65536, four from each 64-bit number."""
    numbers = np.arange(stream, stream + -(-count // 4), dtype=np.uint64)
    return splitmix64(key_B[:, None] + numbers).astype("<u8").view("<u2")[:, :count].astype(np.int32)
