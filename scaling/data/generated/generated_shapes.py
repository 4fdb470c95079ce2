"""Shapes: an embedded, generated data set. An object's class is its outline (coarse) and its texture (fine).

Source: this project. Every image is a function of (seed, split, index) by a counter-based hash (SplitMix64) and integer
arithmetic, so it is the same in any batch, on any machine. VERSION is increased whenever a pixel changes. numpy only.
B images, H W pixels, C = 3 channels, n objects.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling.config.fields import check_name
from scaling.errors import ConfigError
from scaling.rng import Word, splitmix64

VERSION = 1
MIN_SIZE, MAX_SIZE = 16, 224  # [px]
MAX_OBJECTS = 16

Whole = NDArray[np.int32]
Inside = NDArray[np.bool_]


def _cross(u: Whole, v: Whole) -> Inside:
    return (np.minimum(abs(u), abs(v)) <= 220) & (np.maximum(abs(u), abs(v)) <= 1024)


def _disc(u: Whole, v: Whole) -> Inside:
    return u * u + v * v <= 920 * 920


def _square(u: Whole, v: Whole) -> Inside:
    return np.maximum(abs(u), abs(v)) <= 1024


# name -> is the point (u, v) inside?  The object's half side is 1024; u grows to the right, v down.
OUTLINES: dict[str, Callable[[Whole, Whole], Inside]] = {"cross": _cross, "disc": _disc, "square": _square}

# name -> the cells [2 x 2 px, rows joined by /] that tile it: each position has a random one of them.
TEXTURES: dict[str, tuple[str, ...]] = {
    "plain": ("##/##",),
    "dots": ("#./..", ".#/..", "../#.", "../.#"),  # a quarter of the pixels is bright
    "dither": ("##/..", "../##", "#./#.", ".#/.#", "#./.#", ".#/#."),  # half
    "holes": (".#/##", "#./##", "##/.#", "##/#."),  # three quarters
}

CLASSES: tuple[str, ...] = tuple(f"{outline}-{texture}" for outline in OUTLINES for texture in TEXTURES)

_CELL = 2  # [px]
_WAYS = 12  # cells to choose from, a multiple of the number of cells of every texture


def _cells() -> Inside:
    """(textures, _WAYS, _CELL, _CELL) is the pixel bright?"""
    bright = [[[[c == "#" for c in row] for row in cell.split("/")] for cell in t] for t in TEXTURES.values()]
    return np.stack([np.tile(t, (_WAYS // len(t), 1, 1)) for t in bright])


_CELLS = _cells()
_DUTY = np.round(_CELLS.mean((1, 2, 3)) * 256).astype(np.int32)  # share of bright pixels [1/256]

# Ranges end before their second number. Nothing is clipped at 0 or 255, so mean colours stay true:
# 116 - 0.75 * 120 - 16 = 10 and 140 + 0.75 * 120 + 16 = 246.
_SIDE = (200, 251)  # side of the only object [1/256 of the image's side]
_CONTRAST = (80, 121)  # bright minus dark, in one channel [levels of 255]
_MEAN = (116, 141)  # mean colour of an object [levels]
_GROUND = (28, 229)  # colours of the background's knots [levels]
_NOISE = 16  # pixel noise, uniform in +- this [levels]
_KNOTS = 3  # the background interpolates 3 x 3 random colours
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
    seed: int, index: NDArray[np.integer], size: int, objects: int = 1, split: str = "train", instances: bool = False
) -> Shapes:
    """Images number `index` of the endless stream (seed, split), size x size [px], 1 to `objects` objects in each.

    The label is the class of the object with the most visible pixels; of equals, the one drawn first.
    instances: boxes, masks and classes of all visible objects as well. Raises ConfigError."""
    index = _checked(seed, index, size, objects, split)
    shape = (len(index), size, size)
    batch = Shapes(
        np.empty((*shape, 3), np.uint8), np.empty(len(index), np.int64), np.empty(shape, np.int64), [], [], []
    )
    # Mixed twice, the index once: seed 1 of image 0 must not be seed 0 of image 1.
    stream = splitmix64(splitmix64(np.array([2 * seed + (split == "test")], np.uint64)))
    step = max(1, _CHUNK // size**2)
    for start in range(0, len(index), step):
        part = slice(start, start + step)
        _render_chunk(splitmix64(stream ^ splitmix64(index[part])), size, objects, part, batch, instances)
    return batch


def _checked(seed: int, index: NDArray[np.integer], size: int, objects: int, split: str) -> Word:
    check_name("split", split, ("train", "test"))
    for name, value, low, high in (
        ("image", size, MIN_SIZE, MAX_SIZE),
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


def _render_chunk(key_B: Word, size: int, objects: int, part: slice, batch: Shapes, instances: bool) -> None:
    """Render some images into batch, in integer arithmetic, which is exact on any machine."""
    canvas = _background(key_B, size)
    owner = np.full((len(key_B), size, size), -1, np.int8)  # number of the visible object, -1 background
    count = _draw(key_B, 1, 1, objects + 1)[:, 0]
    grid = math.isqrt(objects - 1) + 1  # several objects have a cell of a square grid each
    first = _draw(key_B, 2, 0, grid * grid)[:, 0]
    kind = np.zeros((len(key_B), objects), np.int64)
    for k in range(objects):
        key_of_object_B = splitmix64(key_B ^ splitmix64(np.array([k], np.uint64)))
        frame = _frame(key_of_object_B, size, grid, (first + k) % (grid * grid))
        there = np.flatnonzero(count > k)
        kind[:, k] = _paint_object(key_of_object_B, frame, k, there, canvas, owner)
    canvas += _noise(key_B, size)
    batch.image_BHWC[part] = np.clip(canvas, 0, 255, out=canvas).transpose(0, 2, 3, 1)
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


def _background(key_B: Word, size: int) -> NDArray[np.int16]:
    """(B, C, H, W) low-frequency colours: a smooth surface through _KNOTS x _KNOTS random ones.
    float32 holds these products exactly (8 + 8 + 8 bits), so the order of sums does not matter."""
    low, high = _GROUND
    knots = _draw(key_B, 16, low, high, 3 * _KNOTS**2).reshape(-1, 3, _KNOTS, _KNOTS).astype(np.float32)
    at = (2 * np.arange(size) + 1) * (_KNOTS - 1) / (2 * size)
    near = np.clip(1 - abs(at[:, None] - np.arange(_KNOTS)), 0, 1)
    weight = np.floor(near * 255).astype(np.float32)
    return ((weight @ knots) @ weight.T / 65536).astype(np.int16)


def _noise(key_B: Word, size: int) -> NDArray[np.int16]:
    """(B, C, H, W) independent noise; eight values from each 64-bit number."""
    count = -(-3 * size**2 // 8)
    numbers = np.arange(2**32, 2**32 + count, dtype=np.uint64)
    eight = splitmix64(key_B[:, None] + numbers).astype("<u8").view(np.uint8)[:, : 3 * size**2]
    return ((eight.astype(np.int16) - 128) * _NOISE >> 7).reshape(-1, 3, size, size)


def _paint_object(
    key_B: Word,
    frame: tuple[Whole, Whole],
    number: int,
    there: NDArray[np.intp],
    canvas: NDArray[np.int16],
    owner: NDArray[np.int8],
) -> NDArray[np.integer]:
    """Draw object `number` into the images `there`, in front of what they hold. Returns its class, (B,)."""
    kind = _draw(key_B, 0, 0, len(CLASSES))[:, 0]
    outline, texture = kind // len(TEXTURES), kind % len(TEXTURES)
    (u, v), size = frame, owner.shape[1]
    inside = np.zeros(owner.shape, bool)
    for o, shape in enumerate(OUTLINES.values()):
        of_it = there[outline[there] == o]
        inside[of_it] = shape(u[of_it][:, None, :], v[of_it][:, :, None])
    bright = _weave(key_B, texture, size)
    # Mean colour and contrast have the same distribution for all textures: the mean of an object is independent of
    # its class.
    mean = _draw(key_B, 3, *_MEAN, 3)
    contrast = _draw(key_B, 6, *_CONTRAST, 3)
    dark = (mean - (contrast * _DUTY[texture][:, None] >> 8)).astype(np.int16)
    colour = np.where(bright[:, None], (dark + contrast).astype(np.int16)[..., None, None], dark[..., None, None])
    np.copyto(canvas, colour, where=inside[:, None])
    owner[inside] = number
    return kind


def _weave(key_B: Word, texture: Whole, size: int) -> Inside:
    """(B, H, W) is the pixel bright? Cells at random, on a grid that begins at a random pixel."""
    across = -(-size // _CELL) + 1
    numbers = np.arange(2**33, 2**33 + -(-(across**2) // 8), dtype=np.uint64)
    eight = splitmix64(key_B[:, None] + numbers).astype("<u8").view(np.uint8)[:, : across**2]
    way = (eight.astype(np.int16) * _WAYS >> 8).reshape(-1, across, across)
    woven = _CELLS[texture[:, None, None], way].swapaxes(2, 3).reshape(len(key_B), across * _CELL, across * _CELL)
    phase = _draw(key_B, 1, 0, _CELL, 2)
    bright = np.empty((len(key_B), size, size), bool)
    for x in range(_CELL):
        for y in range(_CELL):
            at = np.flatnonzero((phase[:, 0] == x) & (phase[:, 1] == y))
            bright[at] = woven[at, y : y + size, x : x + size]
    return bright


def _frame(key_B: Word, size: int, grid: int, cell_B: Whole) -> tuple[Whole, Whole]:
    """Coordinates of the columns (B, W) and rows (B, H) in the object's own frame, where its half side is 1024.
    A single object (grid 1) lies anywhere in the image; of several, each lies near its cell of the grid."""
    whole = size * 256  # lengths in [1/256 px]
    side = whole // grid
    half = side * _draw(key_B, 9, *_SIDE)[:, 0] >> 9
    room = whole - 2 * half
    if grid > 1:
        half = half * 5 >> 2  # so large that they overlap
        room = np.full_like(half, side >> 1)
    at = []
    for axis, place in enumerate((cell_B % grid, cell_B // grid)):
        moved = room * (_draw(key_B, 10 + axis, 0, 257)[:, 0] - 128) >> 8
        at.append(np.clip(place * side + side // 2 + moved, half, whole - half))
    pixel = np.arange(size, dtype=np.int32) * 256 + 128
    u, v = ((pixel - at[axis][:, None]) * 1024 // half[:, None] for axis in (0, 1))
    return u.astype(np.int32), v.astype(np.int32)


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
