"""Unique class names, as the metrics of a record are keyed by them.

ImageNet has two classes crane and two maillot (pytorch/vision #4160).
"""

from collections import Counter
from collections.abc import Sequence

KINDS = ("raw", "averaged")  # suffixes of metrics in runs with averaged weights


def distinct(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Unique names, and a line for each that was changed by appending the class index."""
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
        why = "has no name" if not name else f"shares the name {name}" if count[name] > 1 else f"is named {name}"
        lines.append(f"class {number} {why}; its metrics are named {new}")
    return tuple(found), tuple(lines)


def _is_of_a_kind(name: str, count: Counter[str]) -> bool:
    """Whether a metric of this class would have the key of another metric for raw or averaged weights."""
    return name in KINDS or any(count[name.removesuffix(f"_{kind}")] for kind in KINDS if name.endswith(f"_{kind}"))


def only_in_one(train: Sequence[str], test: Sequence[str]) -> str:
    """The first names that only one of the splits has, for an error; empty if there are none."""
    differences = (("train", set(train) - set(test)), ("test", set(test) - set(train)))
    return "; ".join(f"only in {split}: {', '.join(sorted(rest)[:5])}" for split, rest in differences if rest)
