"""Shapes: an embedded, generated data set whose law is known. An object's class is the palette of its mosaic.

The cells of the mosaic have sides from below a pixel up to the image's, so that each halving of the patch makes a like
share of what is left decidable. An observer that sees only the means of p x p pixels has at best the cross-entropy
L*(p) = log 3 (p / (2 image))^0.6 [nats]: 0.725, 0.478, 0.316, 0.208, 0.137 for p = 16, 8, 4, 2, 1 at image 16
(ideal_observer.py computes it; palette_mosaic.py has the construction). Exact for one object per image; with several,
outlines cut tiles. The outline (cross, disc, square), the luminance and the background are independent of the class.
Images may be rectangles (rectangles.py): the shorter side takes the place of the image's side in all of this.

Source: this project. Every image is a function of (seed, split, index) by a counter-based hash (SplitMix64) and integer
arithmetic, so it is the same in any batch, on any machine. VERSION is increased whenever a pixel changes. numpy only.
B images, H W pixels, C = 3 channels, n objects.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling.config.data import SHAPES_VERSION
from scaling.config.fields import check_name
from scaling.data.generated.palette_mosaic import PALETTES, Objects, even_numbers, mosaics, scales
from scaling.data.generated.rectangles import LONGEST_SIDE, SHORTEST_SIDE, Size, sides_of
from scaling.errors import ConfigError
from scaling.rng import Word, splitmix64

VERSION = SHAPES_VERSION
MIN_SIZE, MAX_SIZE = 16, 224  # [px]
MAX_OBJECTS = 16

Whole = NDArray[np.int32]
Inside = NDArray[np.bool_]


def _cross(u: Whole, v: Whole) -> Inside:
    return (np.minimum(u, v) <= 220) & (np.maximum(u, v) <= 1024)


def _disc(u: Whole, v: Whole) -> Inside:
    return u * u + v * v <= 920 * 920


def _square(u: Whole, v: Whole) -> Inside:
    return np.maximum(u, v) <= 1024


# name -> is a point u columns and v rows away from the object's middle inside? The object's half side is 1024.
OUTLINES: dict[str, Callable[[Whole, Whole], Inside]] = {"cross": _cross, "disc": _disc, "square": _square}

CLASSES: tuple[str, ...] = tuple(PALETTES)

# Ranges end before their second number. Nothing is clipped at 0 or 255, so means of pixels stay true:
# 108 - 5 - 30 - 61 - 3 = 9 and 148 + 5 + 30 + 61 + 3 = 247.
_SIDE = (200, 251)  # side of the only object [1/256 of the image's shorter side]
_GROUND = (28, 229)  # grey of the background's knots [levels of 255]
_LIGHT = (108, 149)  # grey of the objects' knots [levels]
_GRAIN = 5  # luminance of an object's pixels, uniform in +- this [levels]
_NOISE = 3  # noise of each channel of each pixel, uniform in +- this [levels]
_KNOTS = 3  # greys are smooth surfaces through 3 x 3 random ones
_CHUNK = 32768  # pixels worked on at once: temporaries stay in the cache


class Shapes(NamedTuple):
    """A batch. The last three hold one item per image, objects back to front, and are empty without `instances`."""

    image_BHWC: NDArray[np.uint8]
    label_B: NDArray[np.int64]  # class of the object with the most visible pixels
    mask_BHW: NDArray[np.int64]  # 0 background, else 1 + class
    boxes: list[NDArray[np.float32]]  # (n, 4) x0 y0 x1 y1 [px], tight around what is visible; x1 y1 exclusive
    instance_masks: list[Inside]  # (n, H, W) visible pixels, disjoint
    instance_classes: list[NDArray[np.int64]]  # (n,)


def render(
    seed: int, index: NDArray[np.integer], size: Size, objects: int = 1, split: str = "train", instances: bool = False
) -> Shapes:
    """Images number `index` of the endless stream (seed, split), 1 to `objects` objects in each. size [px]: of squares,
    or (height, width).

    The label is the class of the object with the most visible pixels; of equals, the one drawn first.
    instances: boxes, masks and classes of all visible objects as well. Raises ConfigError."""
    index = _checked(seed, index, size, objects, split)
    sides = sides_of(size)
    shape = (len(index), *sides)
    batch = Shapes(
        np.empty((*shape, 3), np.uint8), np.empty(len(index), np.int64), np.empty(shape, np.int64), [], [], []
    )
    stream = _stream(seed, split)
    step = max(1, _CHUNK // math.prod(sides))
    for start in range(0, len(index), step):
        part = slice(start, start + step)
        key_B = splitmix64(stream ^ splitmix64(index[part]))
        scale_B = scales(even_numbers(stream, index[part]), min(sides))
        _render_chunk(key_B, scale_B, sides, objects, part, batch, instances)
    return batch


def cell_scales(seed: int, index: NDArray[np.integer], size: Size, split: str = "train") -> NDArray[np.int64]:
    """(B,) k of the cells of side 2^k px of the first object of each image, SUB_PIXEL: grey. Raises ConfigError."""
    return scales(even_numbers(_stream(seed, split), _checked(seed, index, size, 1, split)), min(sides_of(size)))


def shape_numbers(seed: int, index: NDArray[np.integer], count: int, split: str = "train") -> NDArray[np.int32]:
    """(B,) which of `count` equally likely sizes each image has. Raises ConfigError."""
    index = _checked(seed, index, MIN_SIZE, 1, split)
    return _draw(splitmix64(_stream(seed, split) ^ splitmix64(index)), 4, 0, count)[:, 0]


def _stream(seed: int, split: str) -> Word:
    # Mixed twice, the index once: seed 1 of image 0 must not be seed 0 of image 1.
    return splitmix64(splitmix64(np.array([2 * seed + (split == "test")], np.uint64)))


def _checked(seed: int, index: NDArray[np.integer], size: Size, objects: int, split: str) -> Word:
    check_name("split", split, ("train", "test"))
    sides = dict.fromkeys(sides_of(size))
    limits = (MIN_SIZE, MAX_SIZE) if len(sides) == 1 else (SHORTEST_SIDE, LONGEST_SIDE)
    for name, value, low, high in (
        *(("image", side, *limits) for side in sides),
        ("objects", objects, 1, MAX_OBJECTS),
        ("seed", seed, 0, 2**32 - 1),
    ):
        if not isinstance(value, int | np.integer) or not low <= value <= high:
            raise ConfigError(f"{name} {value} is not supported by shapes; use an integer from {low} to {high}")
    index = np.asarray(index)
    if index.ndim != 1 or index.dtype.kind not in "iu":
        raise ConfigError(f"index must be one-dimensional and of integers, not {index.dtype} of shape {index.shape}")
    if index.size and index.min() < 0:
        raise ConfigError(f"index {index.min()} is negative; images are numbered from 0")
    return index.astype(np.uint64)


def _draw(key_B: Word, stream: int, low: int, high: int, count: int = 1) -> Whole:
    """(B, count) whole numbers in [low, high), the numbers stream ... stream + count - 1 of each image."""
    numbers = np.arange(stream, stream + count, dtype=np.uint64)
    bits = splitmix64(key_B[:, None] + numbers * np.uint64(0xD1342543DE82EF95)) >> np.uint64(32)
    return (low + (bits * np.uint64(high - low) >> np.uint64(32)).astype(np.int32)).astype(np.int32)


def _render_chunk(
    key_B: Word,
    scale_B: NDArray[np.int64],
    sides: tuple[int, int],
    objects: int,
    part: slice,
    batch: Shapes,
    instances: bool,
) -> None:
    """Render some images into batch, in integer arithmetic, which is exact on any machine. scale_B: of the cells of the
    first object. sides: height and width [px]."""
    canvas = np.repeat(_grey(key_B, 16, _GROUND, sides), 3, 1)
    light = _grey(key_B, 32, _LIGHT, sides) + _even_bytes(key_B, 2**32, (1, *sides), _GRAIN)
    owner = np.full((len(key_B), *sides), -1, np.int8)  # number of the visible object, -1 background
    count = _draw(key_B, 1, 1, objects + 1)[:, 0]
    grid = math.isqrt(objects - 1) + 1  # several objects have a cell of a square grid each
    first = _draw(key_B, 2, 0, grid * grid)[:, 0]
    kind = np.zeros((len(key_B), objects), np.int64)
    for k in range(objects):
        key_of_object_B = splitmix64(key_B ^ splitmix64(np.array([k], np.uint64)))
        kind[:, k] = _draw(key_of_object_B, 0, 0, len(CLASSES))[:, 0]
        if k:
            scale_B = scales(splitmix64(key_of_object_B), min(sides))
        tile_B = 1 << (scale_B + 1) if objects == 1 else np.ones_like(scale_B)
        place = _place(key_of_object_B, sides, grid, (first + k) % (grid * grid))
        inside = _inside(key_of_object_B, place, tile_B, sides) & (count > k)[:, None, None]
        colour = light + mosaics(Objects(key_of_object_B, kind[:, k], scale_B, place[0] >> 8, place[1] >> 8), sides)
        np.copyto(canvas, colour, where=inside[:, None])
        owner[inside] = k
    canvas += _even_bytes(key_B, 2**34, canvas.shape[1:], _NOISE)
    batch.image_BHWC[part] = canvas.transpose(0, 2, 3, 1)
    if objects == 1:
        largest = np.zeros(len(key_B), np.int64)
    else:
        largest = np.stack([(owner == k).sum((1, 2)) for k in range(objects)], 1).argmax(1)
    rows = np.arange(len(key_B))
    batch.label_B[part] = kind[rows, largest]
    batch.mask_BHW[part] = np.where(owner >= 0, 1 + kind[rows[:, None, None], owner], 0)
    if instances:
        for i in range(len(key_B)):
            _add_instances(owner[i], kind[i], batch)


def _grey(key_B: Word, stream: int, levels: tuple[int, int], sides: tuple[int, int]) -> NDArray[np.int16]:
    """(B, 1, H, W) low-frequency greys: a smooth surface through _KNOTS x _KNOTS random ones.
    float32 holds these products exactly (8 + 8 + 8 bits), so the order of sums does not matter."""
    knots = _draw(key_B, stream, *levels, _KNOTS**2).reshape(-1, 1, _KNOTS, _KNOTS).astype(np.float32)
    down, across = (_knot_weights(side) for side in sides)
    return ((down @ knots) @ across.T / 65536).astype(np.int16)


def _knot_weights(side: int) -> NDArray[np.float32]:
    """(side, _KNOTS) weights of the knots in each row or column of pixels, whole numbers up to 255."""
    at = (2 * np.arange(side) + 1) * (_KNOTS - 1) / (2 * side)
    near = np.clip(1 - abs(at[:, None] - np.arange(_KNOTS)), 0, 1)
    return np.floor(near * 255).astype(np.float32)


def _even_bytes(key_B: Word, stream: int, shape: tuple[int, ...], most: int) -> NDArray[np.int16]:
    """(B, *shape) independent numbers, uniform in +- most; eight from each 64-bit number."""
    count = math.prod(shape)
    numbers = np.arange(stream, stream + -(-count // 8), dtype=np.uint64)
    eight = splitmix64(key_B[:, None] + numbers).astype("<u8").view(np.uint8)[:, :count]
    return ((eight.astype(np.int16) - 128) * most >> 7).reshape(-1, *shape)


def _inside(
    key_B: Word, place: tuple[Whole, Whole, Whole], tile_B: NDArray[np.int64], sides: tuple[int, int]
) -> Inside:
    """(B, H, W) is the pixel of the object? Outlines consist of whole tiles of tile_B pixels, so that the colours
    in each tile that is seen sum to zero. An object of one tile, as large as the shorter side, lies in the middle of a
    whole one: then its quarters are alike, and sum to zero too. Above that a tile is one cell, and any outline will
    do."""
    column, row, half = place
    short, inside = min(sides), np.empty((len(key_B), *sides), bool)
    step_B1 = np.where(tile_B < short, tile_B, 1)[:, None]
    away = []
    for middle, side in ((column, sides[1]), (row, sides[0])):
        # Middle of the tile of each column or row, and of the last whole one of the shorter side [1/256 px].
        tile_BL = (np.arange(side) // step_B1 * 2 + 1) * step_B1 * 128
        whole_B = (np.minimum(middle // (short * 256), side // short - 1) * 2 + 1) * short * 128
        away.append(abs(tile_BL - np.where(tile_B == short, whole_B, middle)[:, None]))
    u, v = ((distance * 1024 // half[:, None]).astype(np.int32) for distance in away)
    outline = _draw(key_B, 3, 0, len(OUTLINES))[:, 0]
    for o, shape in enumerate(OUTLINES.values()):
        of_it = np.flatnonzero(outline == o)
        inside[of_it] = shape(u[of_it][:, None, :], v[of_it][:, :, None])
    at_middle = [distance <= step_B1 * 128 for distance in away]  # an object has at least this tile
    return inside | (at_middle[0][:, None, :] & at_middle[1][:, :, None])


def _place(key_B: Word, sides: tuple[int, int], grid: int, cell_B: Whole) -> tuple[Whole, Whole, Whole]:
    """(B,) column and row of the object's middle, and half its side [1/256 px]. A single object (grid 1) lies anywhere
    in the image; of several, each lies near its cell of the grid."""
    short = min(sides) * 256 // grid
    half = short * _draw(key_B, 9, *_SIDE)[:, 0] >> 9
    if grid > 1:
        half = half * 5 >> 2  # so large that they overlap
    at = []
    for axis, (side, place) in enumerate(zip(reversed(sides), (cell_B % grid, cell_B // grid), strict=True)):
        whole, cell = side * 256, side * 256 // grid
        room = cell >> 1 if grid > 1 else whole - 2 * half
        moved = room * (_draw(key_B, 10 + axis, 0, 257)[:, 0] - 128) >> 8
        at.append(np.clip(place * cell + cell // 2 + moved, half, whole - half))
    return at[0], at[1], half


def _add_instances(owner_HW: NDArray[np.int8], kind: NDArray[np.int64], batch: Shapes) -> None:
    """Append one image's visible objects to the lists of the batch."""
    seen = [k for k in range(len(kind)) if (owner_HW == k).any()]
    masks = np.stack([owner_HW == k for k in seen]) if seen else np.zeros((0, *owner_HW.shape), bool)
    boxes = np.zeros((len(seen), 4), np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        y, x = np.nonzero(mask)
        box[:] = x.min(), y.min(), x.max() + 1, y.max() + 1
    batch.boxes.append(boxes)
    batch.instance_masks.append(masks)
    batch.instance_classes.append(kind[seen])
