"""Patch sizes to train where a law has too few."""

from collections.abc import Iterable

from analysis.records.groups import FEWEST_PATCHES, Group

USUAL = (16, 8, 4, 2, 1, 32)  # patch sizes [px], in the order of proposal: coarse ones are cheapest


def proposed(there: Iterable[int], image: int = 0) -> list[int]:
    """As many patch sizes as a law needs [px], from coarse to fine: those in `there`, and others that divide the image
    [px] (0: any). Fewer where no more of USUAL divide the image."""
    found = set(there)
    for patch in USUAL:
        if len(found) < FEWEST_PATCHES and (image % patch == 0 if image else True):
            found.add(patch)
    return sorted(found, reverse=True)


def more_patches(group: Group) -> str:
    """How to train the missing runs, as the end of a sentence."""
    image = group.about.get("image", 0)
    sizes = proposed(group.points["patch"].astype(int), int(image) if image == image and image else 0)
    return f"repeat its sweep command with --patch {','.join(map(str, sizes))} to train the missing ones"
