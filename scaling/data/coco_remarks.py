"""What there is to say of a file of annotations before a run: what of it is left out or mended, and which classes no
image of it has."""

from collections import Counter

from scaling.data.coco_files import CocoFile

SOME = 5  # names that are listed at most


def remarks(coco: CocoFile) -> tuple[str, ...]:
    """A line for each thing that is told."""
    split, notes = coco.split, {name: int(count) for name, count in coco.notes.items()}
    repeated = [path.name for path, count in Counter(image.path for image in coco.images).items() if count > 1]
    lost = _without(coco) if split == "train" else []
    told = (
        (coco.left_out, f"{split} images without an object are left out; --empty-images keep takes them"),
        (notes["boxes_clipped"], f"boxes of {split} images reach outside and are clipped (x, y, width, height?)"),
        (notes["boxes_dropped"], f"boxes of {split} images have nothing of the image in them and are left out"),
        (notes["masks_from_boxes"], f"objects of {split} images have no mask: their box is taken for it"),
        (len(repeated), f"files of {split} images are listed more than once: {_some(repeated)}"),
        (len(lost), f"of {len(coco.categories)} classes have no object in the {split} images: {_some(lost)}"),
    )
    return tuple(f"{count} {what}" for count, what in told if count)


def _without(coco: CocoFile) -> list[str]:
    """The classes that no object is of."""
    there = {a.label for image in coco.images for a in image.annotations if not a.crowd}
    return [name for label, (_, name) in enumerate(coco.categories) if label not in there]


def _some(names: list[str]) -> str:
    return ", ".join(names[:SOME]) + (", …" if len(names) > SOME else "")
