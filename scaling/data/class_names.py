"""Names of classes, by which a record has a number of each: one name for one class, whatever the data call them.

ImageNet has two classes crane and two maillot (pytorch/vision #4160); a table of annotations may have more.
"""

from collections import Counter
from collections.abc import Sequence

KINDS = ("raw", "averaged")  # of weights: what metrics of a run with an average end in


def distinct(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names, all different, and a line for each that had to be changed: it has the class's number appended."""
    stripped = [name.strip() for name in names]
    count = Counter(stripped)
    found: list[str] = []
    lines = []
    for number, name in enumerate(stripped):
        if not (clashes := not name or count[name] > 1 or _is_of_a_kind(name, count)):
            found.append(name)
            continue
        new = name or "class"
        while clashes:
            new = f"{new}_{number}"
            clashes = count[new] > 0 or new in found
        found.append(new)
        why = "has no name" if not name else f"is not the only one called {name}" if count[name] > 1 else f"was {name}"
        lines.append(f"class {number} {why}: here it is {new}")
    return tuple(found), tuple(lines)


def _is_of_a_kind(name: str, count: Counter[str]) -> bool:
    """Whether a metric of this class would be called as that of another, or of all, by weights of a kind."""
    return name in KINDS or any(count[name.removesuffix(f"_{kind}")] for kind in KINDS if name.endswith(f"_{kind}"))
