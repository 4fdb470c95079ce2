"""Which classes the labels of a segmentation set have: known of every label file before a run (file_index.py).

A mask whose object is 255 has one class: 255 is what marks pixels without one (mmsegmentation #1609).
"""

from collections.abc import Sequence

import numpy as np

from scaling.data.batch import UNLABELLED
from scaling.data.file_index import Seen
from scaling.recipe import BadInput, Recipe

SOME = 5  # classes that are named at most


def check_classes(train: Seen, test: Seen, recipe: Recipe, names: Sequence[str]) -> tuple[str, ...]:
    """A line where training labels do not have all classes. Raises BadInput where they have none, or but one, or where
    test labels have none. names: of the classes, or nothing."""
    learned, nothing = _in(train)
    found, _ = _in(test)
    none = f"{recipe.unlabelled}, or 255," if recipe.unlabelled != UNLABELLED else str(UNLABELLED)
    for split, classes, seen in (("training", learned, train), ("test", found, test)):
        if not classes and len(seen.bad) < len(seen.names):  # else reading them says what is wrong
            raise BadInput(f"none of the {len(seen.names)} {split} labels has a class: {none} means no class")
    missing = [k for k in range(recipe.classes) if k not in learned]
    if not missing:
        return ()
    lost = ", ".join(f"{k}{f' ({names[k]})' if names else ''}" for k in missing[:SOME])
    lost += ", …" if len(missing) > SOME else ""
    if len(learned) == 1:
        hint = (
            f"; {none} means no class: where it is an object, write its class, such as {missing[0]}" if nothing else ""
        )
        raise BadInput(
            f"class {learned.pop()} is the only one in the {len(train.names)} training labels, so there is nothing to "
            f"tell it from: {'class' if len(missing) == 1 else 'classes'} {lost} in none of them{hint}"
        )
    tested = sum(k in found for k in missing)
    also = f", {tested} of them in test labels" if tested else ""
    unsaid = f"; {none} means no class" if nothing else ""
    return (f"{len(missing)} of {recipe.classes} classes are in no training label{also}: {lost}{unsaid}",)


def _in(seen: Seen) -> tuple[set[int], bool]:
    """The classes in labels that can be read, and whether any pixel has none."""
    good = [n for n in range(len(seen.names)) if n not in seen.bad]
    has = np.unpackbits(np.bitwise_or.reduce(seen.present_NB[good], axis=0, initial=0))
    return set(np.flatnonzero(has[:UNLABELLED]).tolist()), bool(has[UNLABELLED])
