"""What to do where a law has too few patch sizes."""

from collections.abc import Iterable

from analysis.records.groups import FEWEST_PATCHES, Group

USUAL = (16, 8, 4, 2, 1, 32)  # patch sizes [px], in the order in which they are proposed: coarse ones cost least


def proposed(there: Iterable[int], image: int = 0) -> list[int]:
    """As many patch sizes as a law needs [px], from coarse to fine: those that are there, and others that divide the
    image [px]; 0: any. Fewer where an image has no more of the usual ones."""
    found = set(there)
    for patch in USUAL:
        if len(found) < FEWEST_PATCHES and (image % patch == 0 if image else True):
            found.add(patch)
    return sorted(found, reverse=True)


def more_patches(group: Group) -> str:
    """What would do, as the end of a sentence."""
    image = group.about.get("image", 0)
    sizes = proposed(group.points["patch"].astype(int), int(image) if image == image and image else 0)
    return f"its sweep's command with --patch {','.join(map(str, sizes))} trains what misses"
