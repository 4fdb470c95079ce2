"""Backbone styles: one colour and marker per backbone in all figures, and a palette for other series."""

import re
from collections.abc import Iterable
from typing import TypeVar

# Okabe and Ito's colours; the markers distinguish them in greyscale.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")
SIZES = ("pico", "nano", "micro", "tiny", "small", "base", "large", "huge")
# Colours by size, distinct for DeiT and Adventurer of one size and for the sizes of one family.
BY_SIZE = {"deit": (4, 0, 2, 0, 4, 2, 3, 5), "adventurer": (5, 1, 3, 1, 5, 3, 0, 2)}
OF = {"deit": "o", "adventurer": "s"}
NAMED = re.compile(rf"(deit|adventurer)[-_ ]({'|'.join(SIZES)})\b", re.IGNORECASE)

Look = tuple[str, str]
Name = TypeVar("Name")


def look_of(name: object) -> Look | None:
    """The colour and marker of the backbone in a name such as "deit_nano" or "DeiT-Base 64 px"; None without one."""
    found = NAMED.search(str(name).replace("_", " "))
    if found is None:
        return None
    family, size = (word.lower() for word in found.groups())
    return COLOURS[BY_SIZE[family][SIZES.index(size)]], OF[family]


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
    taken = set(looks.values())
    colours = {colour for colour, _ in taken}
    free = [look for look in every if look not in taken]
    free.sort(key=lambda look: look[0] in colours)  # unused colours first; sorting is stable
    for name in names:
        if name not in looks:
            looks[name] = free.pop(0) if free else every[len(looks) % len(every)]
    return {name: looks[name] for name in names}
