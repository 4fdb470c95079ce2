"""Sizes of generated images that are no squares: rectangles of about the same area, of a range of aspect ratios.

Their sides are multiples of an eighth of the square's side. So patches that divide this eighth tile every image, and
none has to be resized: at 32 px these are patches of 4, 2 and 1 px. Standard library only.
"""

from scaling.config.data import parse_ratios
from scaling.errors import ConfigError

Size = int | tuple[int, int]  # of a square, or height and width [px]
PARTS = 8  # of a side
SHORTEST_SIDE, LONGEST_SIDE = 8, 448  # [px]


def sides_of(size: Size) -> tuple[int, int]:
    """Height and width [px]."""
    return size if isinstance(size, tuple) else (size, size)


def rectangles(size: int, aspect_ratios: str) -> list[tuple[int, int]]:
    """Heights and widths [px] whose ratio of width to height is in a range, such as 0.5-2, from tall to wide. For each
    longer side, in eighths of size, the shorter one makes the area nearest to size x size. Raises ConfigError where
    eight does not divide size, and where no rectangle is in the range."""
    low, high = parse_ratios(aspect_ratios)
    if size % PARTS:
        near = max(2, size // PARTS) * PARTS
        raise ConfigError(
            f"aspect_ratios {aspect_ratios} needs an image size that {PARTS} divides, not {size}: set --img-size {near}"
        )
    found = {(round(PARTS**2 / long), long) for long in range(PARTS, 2 * PARTS + 1)}
    found |= {(long, short) for short, long in found}
    sizes = [(h * size // PARTS, w * size // PARTS) for h, w in found if low <= w / h <= high]
    if not sizes:
        raise ConfigError(f"aspect_ratios {aspect_ratios} has no rectangle in eighths of {size} px; take a wider range")
    return sorted(sizes, key=lambda sides: sides[1] / sides[0])
