"""Annotations of COCO's JSON: validated, clipped to their image, and their masks converted to run lengths.

Source of the format: cocodataset.org/#format-data. A mask is a list of polygons, or run lengths, either a list of
numbers or pycocotools' compressed text. h w sides of an image [px].
"""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, TypeGuard, cast

import numpy as np

from scaling.data.coco.instance_store import ImageObjects, coco_masks, run_ends
from scaling.errors import ConfigError

ROUNDING = 1  # a box that exceeds its image by less counts as inside: COCO's own are rounded to 0.01 [px]
LARGEST = 2**53  # integers up to this are exact in the floats that other JSON readers use
FURTHEST = 2**20  # coordinate of a polygon; far beyond that pycocotools runs out of memory [px]
Entry = dict[str, object]  # of one of the lists in the JSON, not checked yet
Region = list[list[object]] | dict[str, object] | None  # polygons of three points or more, run lengths, or the box
NOTES = ("boxes_clipped", "boxes_dropped", "masks_from_boxes")


class Annotation(NamedTuple):
    """One object of the file, with its box clipped to the image and a segmentation of a known kind."""

    number: object  # its id in the file
    box: tuple[float, float, float, float]  # x0 y0 x1 y1 [px]
    label: int  # the category's number, from 0
    crowd: bool
    area: float | None  # [px^2]
    region: Region


def annotations(
    listed: list[Entry],
    file: Path,
    sizes: dict[int, tuple[int, int]],
    labels: dict[int, int],
) -> tuple[dict[int, list[Annotation]], dict[str, float]]:
    """The annotations of a file, by image id, and the counts of NOTES. sizes: height and width by image id; labels: by
    category id. Raises ConfigError for an invalid annotation."""
    for key, known in (("image_id", sizes), ("category_id", labels)):
        for number, a in enumerate(listed):
            if key in a and type(a[key]) is not int:
                whole(a, key, _where(a, number, file))
        lost = [a.get(key) for a in listed if a.get(key) not in known]
        if lost:
            raise ConfigError(
                f"{file} does not list the {key} of {len(lost)} of its {len(listed)} annotations, the first {lost[0]!r}"
            )
    once([a["id"] for a in listed if a.get("id") is not None], "annotation", file)
    found: dict[int, list[Annotation]] = {image_id: [] for image_id in sizes}
    notes, furthest = dict.fromkeys(NOTES, 0.0), 0.0
    for number, a in enumerate(listed):
        image_id, category_id = cast(int, a["image_id"]), cast(int, a["category_id"])  # checked above
        where, size = _where(a, number, file), sizes[image_id]
        crowd = _crowd(a.get("iscrowd"), where)
        region = _region(a.get("segmentation"), size, where)
        box, clipped = _box(a.get("bbox"), size, where)
        if box is None:
            notes["boxes_dropped"] += 1
            continue
        furthest = max(furthest, box[2], box[3])
        notes["boxes_clipped"] += clipped
        notes["masks_from_boxes"] += region is None
        area = a.get("area")
        known_area = area if _is_finite(area) and area >= 0 else None
        found[image_id].append(Annotation(_number(a, number), box, labels[category_id], crowd, known_area, region))
    if 0 < furthest <= 1:
        raise ConfigError(
            f"{file}: all boxes lie within the first pixel: bbox must be in pixels, not normalised to 0..1"
        )
    return found, notes


def once(ids: Sequence[object], what: str, file: Path) -> None:
    """Raise ConfigError for duplicate ids: COCO's tools keep only one of the entries."""
    seen: set[object] = set()
    for number in ids:
        if isinstance(number, list | dict):
            raise ConfigError(f"{file}: {what} has the id {number!r}: an integer is expected")
        if number in seen:
            raise ConfigError(f"{file} lists {what} {number} twice: ids must be unique")
        seen.add(number)


def _number(a: Entry, number: int) -> object:
    """The annotation's id, or its position in the file."""
    return f"number {number}" if a.get("id") is None else a["id"]


def _where(a: Entry, number: int, file: Path) -> str:
    return f"{file}: annotation {_number(a, number)}"


def _crowd(value: object, where: str) -> bool:
    """iscrowd as a bool; missing or null: False. Text is rejected: "0" is true in Python."""
    if value is None or (isinstance(value, int) and value in (0, 1)):  # bool is int
        return bool(value)
    raise ConfigError(f"{where} has the iscrowd {value!r}: 0, 1, false or true is expected")


def whole(entry: Entry, key: str, where: str, least: int | None = None) -> int:
    """entry[key]. Raises ConfigError unless it is an integer, `least` or more."""
    value = entry.get(key)
    low = -LARGEST if least is None else least
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= LARGEST:
        what = "an integer" if least is None else f"an integer from {least}"
        raise ConfigError(f"{where} has the {key} {value!r}: {what} is expected")
    return value


def _is_finite(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def _all_finite(values: list[object]) -> TypeGuard[list[float]]:
    return all(map(_is_finite, values))


def _box(bbox: object, size: tuple[int, int], where: str) -> tuple[tuple[float, float, float, float] | None, bool]:
    """x0 y0 x1 y1 clipped to the image, None where they do not overlap; and whether it was clipped."""
    if not isinstance(bbox, list) or len(bbox) != 4 or not _all_finite(bbox):
        raise ConfigError(f"{where} has the bbox {bbox!r}: four numbers are expected, x, y, width, height")
    (x, y, width, height), (h, w) = bbox, size
    inside = max(x, 0), max(y, 0), min(x + width, w), min(y + height, h)
    if width <= 0 or height <= 0 or inside[0] >= inside[2] or inside[1] >= inside[3]:
        return None, False
    clipped = max(-x, -y, x + width - w, y + height - h) >= ROUNDING
    return (inside if clipped else (x, y, x + width, y + height)), clipped


def _region(region: object, size: tuple[int, int], where: str) -> Region:
    """A segmentation of a known kind and of the size of its image; None if it has none."""
    if isinstance(region, dict):
        if region.get("size") != list(size):
            raise ConfigError(f"{where} has a mask of the size {region.get('size')!r}, its image has {list(size)} px")
        return region
    if region is None or region == []:
        return None
    if not isinstance(region, list) or not all(
        isinstance(p, list) and len(p) % 2 == 0 and not any(isinstance(x, list | dict) for x in p) for p in region
    ):
        raise ConfigError(f"{where} has a segmentation that is neither polygons (x, y, x, y, …) nor run lengths")
    return [p for p in region if len(p) >= 6] or None  # pycocotools takes two points for a box


def image_objects(image_id: int, size: tuple[int, int], found: list[Annotation], file: Path) -> ImageObjects:
    """The annotations of an image in file, their masks as run lengths. Raises ConfigError for an invalid mask."""
    masks = coco_masks()
    counts = []
    for a in found:
        try:
            counts.append(_counts(a, size, masks))
        except (TypeError, ValueError, OverflowError, AttributeError) as e:
            raise ConfigError(f"{file}: annotation {a.number} has a mask that cannot be read ({e})") from e
    areas = [
        masks.area({"size": list(size), "counts": text}) if a.area is None else a.area
        for a, text in zip(found, counts, strict=True)
    ]
    return ImageObjects(
        image_id,
        size,
        np.array([a.box for a in found], np.float64).reshape(-1, 4),
        np.array([a.label for a in found], np.int64),
        np.array([a.crowd for a in found], bool),
        np.array(areas, np.float64),
        counts,
    )


def _counts(a: Annotation, size: tuple[int, int], masks: ModuleType) -> bytes:
    """An annotation's mask as pycocotools' run lengths. An invalid one raises various exceptions."""
    h, w = size
    if a.region is None:
        x0, y0, x1, y1 = a.box
        return masks.frPyObjects(np.array([[x0, y0, x1 - x0, y1 - y0]], np.float64), h, w)[0]["counts"]
    if isinstance(a.region, list):
        if not all(_all_finite(polygon) and max(map(abs, polygon)) < FURTHEST for polygon in a.region):
            raise ValueError(f"a polygon's corners must be numbers below {FURTHEST}")
        parts = masks.frPyObjects(a.region, h, w)
        return (masks.merge(parts) if len(parts) > 1 else parts[0])["counts"]
    counts = a.region.get("counts")
    if isinstance(counts, list):
        if not all(isinstance(run, int) and run >= 0 for run in counts):
            raise ValueError("run lengths must be integers from 0")
        _check_total(sum(counts), h * w)
        return masks.frPyObjects({"size": [h, w], "counts": counts}, h, w)["counts"]
    packed = counts.encode() if isinstance(counts, str) else cast(bytes, counts)  # others are no buffer: TypeError
    _check_total(int(run_ends(packed)[-1]), h * w)
    return packed


def _check_total(total: int, wanted: int) -> None:
    """pycocotools does not check it: too short runs give uninitialised memory, too long ones overflow."""
    if total != wanted:
        raise ValueError(f"{total} pixels, its image has {wanted}")
