"""Backbone styles: one colour and marker per backbone in all figures, and a palette for other series."""

import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

from matplotlib.typing import LineStyleType

# Okabe and Ito's colours (2008), which differ for the colour-blind; the markers distinguish them in greyscale.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")
SIZES = ("pico", "nano", "micro", "tiny", "small", "base", "large", "huge")
# Colours and markers by size, distinct for DeiT and Adventurer of one size and for the sizes of one family.
BY_SIZE = {"deit": (4, 0, 2, 0, 4, 2, 3, 5), "adventurer": (5, 1, 3, 1, 5, 3, 0, 2)}
OF = {"deit": ("v", "o", "^", "o", "v", "^", "<", ">"), "adventurer": ("P", "s", "D", "s", "P", "D", "X", "p")}
LINES: tuple[LineStyleType, ...] = (  # of lines without marks
    "-",
    (0, (5, 1.5)),
    (0, (1, 1)),
    (0, (5, 1, 1, 1)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (8, 2)),
)
NAMED = re.compile(rf"(deit|adventurer)[-_ ]({'|'.join(SIZES)})\b", re.IGNORECASE)

Look = tuple[str, str]
Name = TypeVar("Name")


def look_of(name: object) -> Look | None:
    """The colour and marker of the backbone in a name such as "deit_nano" or "DeiT-Base 64 px"; None without one."""
    found = NAMED.search(str(name).replace("_", " "))
    if found is None:
        return None
    family, size = (word.lower() for word in found.groups())
    number = SIZES.index(size)
    return COLOURS[BY_SIZE[family][number]], OF[family][number]


def styles(names: Iterable[Name]) -> dict[Name, Look]:
    """A colour and a marker for each name: a backbone's own; other names, and further series of a backbone, get the
    next free pair. No pair is used twice among 36."""
    n = len(COLOURS)
    every = [(COLOURS[k % n], MARKERS[(k + k // n) % n]) for k in range(n * n)]
    looks: dict[Name, Look] = {}
    names = list(names)
    for name in names:
        own = look_of(name)
        if own is not None and own not in looks.values():
            looks[name] = own
    for name in names:
        if name not in looks:
            looks[name] = _next(every, list(looks.values()))
    return {name: looks[name] for name in names}


def _next(every: Sequence[Look], taken: Sequence[Look]) -> Look:
    """The first look that is not taken, of an unused colour and marker if there is one; else looks are repeated."""
    colours, markers = {colour for colour, _ in taken}, {marker for _, marker in taken}
    free = [look for look in every if look not in taken] or [every[len(taken) % len(every)]]
    return min(free, key=lambda look: (look[0] in colours, look[1] in markers))
