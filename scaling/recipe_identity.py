"""Which recipes are one run but for where their data and weights lay: for runs from before these were known by content.

A recipe that is identified (scaling/runs/identity.py) holds digests, and its run_id and group hold no path. One from
before holds the paths: `bare` takes out both, and what is left must be equal. Standard library only.
"""

from collections.abc import Sequence
from dataclasses import replace

from scaling.recipe import DATA, TIMM, Recipe


def says_what(data: str) -> bool:
    """Whether the name of a data set says what is in it. That of a folder of one's own, or of shards, does not."""
    return (data in DATA and data != "folder") or data.startswith("hfds/")


def is_file(weights: str) -> bool:
    """Whether weights are a file, here or at an address: those of timm have a name."""
    return bool(weights) and not weights.startswith(TIMM)


def is_address(weights: str) -> bool:
    return weights.startswith(("hf:", "https://"))


def bare(recipe: Recipe) -> Recipe:
    """The recipe without a word of what its data and weights are or where they lie, and so for those before it."""
    before = recipe.predecessor
    return replace(
        recipe,
        data_root="",
        data_digest="",
        weights="file" if recipe.weights_digest or is_file(recipe.weights) else recipe.weights,
        weights_digest="",
        start=bare(before).canonical_json() if before else "",
    )


def is_open(recipe: Recipe) -> bool:
    """Whether a path is a part of its run_id: its own, or that of a run before it."""
    before = recipe.predecessor
    data = bool(recipe.data_root) and not recipe.data_digest
    return data or (is_file(recipe.weights) and not recipe.weights_digest) or (before is not None and is_open(before))


def groups(recipes: Sequence[Recipe]) -> list[str]:
    """The group of each of some runs. One that is open is of the group of those that are not and are equal but for
    paths and digests, where these are of one group: of several, nobody knows which it is of. A folder of one's own must
    have had the same name, and weights the same file's."""
    known: dict[str, set[str]] = {}
    opened: dict[str, set[str]] = {}
    names = [_by_name(recipe) for recipe in recipes]
    for recipe, name in zip(recipes, names, strict=True):
        (opened if is_open(recipe) else known).setdefault(name, set()).add(recipe.group)
    found = []
    for recipe, name in zip(recipes, names, strict=True):
        of = known.get(name) or opened.get(name) or set()
        several = recipe.group if name in known else name
        found.append(recipe.group if not is_open(recipe) else min(of) if len(of) == 1 else several)
    return found


def _by_name(recipe: Recipe) -> str:
    """A group's name by what `bare` leaves, and by the last names of paths that say what lies there."""
    weights = recipe.weights if is_address(recipe.weights) else last_name(recipe.weights)
    root = "" if says_what(recipe.data) else last_name(recipe.data_root)
    return replace(bare(recipe), data_root=root, weights=weights).group


def last_name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
