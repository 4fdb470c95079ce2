"""Messages about a COCO file before a run: what is left out or corrected, and classes without objects."""

from collections import Counter

from scaling.data.coco.coco_dataset import CocoFiles
from scaling.errors import first_of


def remarks(coco: CocoFiles) -> tuple[str, ...]:
    """One line per kind of finding, with its count."""
    split, notes = coco.split, {name: int(count) for name, count in coco.notes.items()}
    repeated = [path.name for path, count in Counter(image.path for image in coco.images).items() if count > 1]
    lost = _without(coco) if split == "train" else []
    findings = (
        (coco.left_out, f"{split} images have no object and are left out (--filter-empty-gt false keeps them)"),
        (
            notes["boxes_clipped"],
            f"{split} boxes extend beyond their image and are clipped (bbox is x, y, width, height)",
        ),
        (notes["boxes_dropped"], f"{split} boxes do not overlap their image and are left out"),
        (notes["masks_from_boxes"], f"{split} objects have no mask; their box is used"),
        (len(repeated), f"{split} image files are listed more than once: {first_of(repeated)}"),
        (len(lost), f"of {len(coco.categories)} classes have no {split} object: {first_of(lost)}"),
    )
    return tuple(f"{count} {what}" for count, what in findings if count)


def _without(coco: CocoFiles) -> list[str]:
    """The names of classes without objects."""
    there = {a.label for image in coco.images for a in image.annotations if not a.crowd}
    return [name for label, (_, name) in enumerate(coco.categories) if label not in there]
