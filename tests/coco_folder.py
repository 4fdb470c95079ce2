"""A small folder of images with objects in COCO's layout, for the tests of what reads it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from scaling.config.edit import make_config
from scaling.config.experiment import ExperimentConfig


class RunLengths(TypedDict):
    """COCO's, of a mask."""

    size: list[int]  # height, width
    counts: str | list[int]


class Annotation(TypedDict, total=False):
    """One object."""

    id: int
    image_id: int
    category_id: int
    iscrowd: int
    area: float
    bbox: list[float]
    segmentation: list[list[float]] | RunLengths


class ImageEntry(TypedDict):
    """One image."""

    id: int
    file_name: str
    height: int
    width: int


class Category(TypedDict):
    """One class."""

    id: int
    name: str


class Annotations(TypedDict):
    """The JSON of a split."""

    images: list[ImageEntry]
    annotations: list[Annotation]
    categories: list[Category]


# In no order, with gaps.
CATEGORIES: list[Category] = [{"id": 7, "name": "cow"}, {"id": 2, "name": "cat"}, {"id": 90, "name": "brush"}]
SIZES = ((40, 60), (60, 40), (40, 60), (48, 48), (40, 60), (30, 80))  # height, width of the training images
TESTED = ((40, 60), (40, 60), (70, 40))


def rectangle(x: float, y: float, width: float, height: float) -> list[float]:
    """A polygon."""
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def filled(size: tuple[int, int], x: int, y: int, width: int, height: int) -> np.ndarray:
    """A mask with ones in a rectangle."""
    mask_hw = np.zeros(size, np.uint8)
    mask_hw[y : y + height, x : x + width] = 1
    return mask_hw


def run_lengths(mask_hw: np.ndarray, text: bool) -> RunLengths:
    """COCO's, as JSON has them: a text, or a list of numbers."""
    if text:
        rle = coco_mask.encode(np.asfortranarray(mask_hw))
        return {"size": list(mask_hw.shape), "counts": rle["counts"].decode()}
    flat = np.concatenate([[0], mask_hw.T.ravel(), [0]])
    edges = np.flatnonzero(np.diff(flat))
    return {"size": list(mask_hw.shape), "counts": np.diff([0, *edges, mask_hw.size]).tolist()}


def objects(size: tuple[int, int], first: int) -> list[Annotation]:
    """One annotation of each kind: polygons, both kinds of run lengths, and a crowd."""
    height, width = size
    blob = filled(size, 3, 4, 9, 7) | filled(size, 6, 8, 12, 9)
    listed: list[Annotation] = [
        {"category_id": 2, "segmentation": [rectangle(2.4, 3.3, 10.2, 8.8), rectangle(15, 4, 6, 6)]},
        {"category_id": 90, "segmentation": run_lengths(blob, text=True)},
        {"category_id": 7, "segmentation": run_lengths(filled(size, width - 12, 5, 9, 13), text=False)},
        {"category_id": 7, "iscrowd": 1, "segmentation": run_lengths(filled(size, 4, height - 9, 20, 6), text=False)},
    ]
    for number, a in enumerate(listed):
        region = a["segmentation"]
        rle = coco_mask.frPyObjects(region, height, width) if isinstance(region, list) or number > 1 else region
        rle = coco_mask.merge(rle) if isinstance(rle, list) else rle
        box = [float(side) for side in coco_mask.toBbox(rle)]
        a.update({"id": first + number, "bbox": box, "area": float(coco_mask.area(rle)), "iscrowd": int(number == 3)})
    return listed


def write_split(
    root: Path, name: str, sizes: tuple[tuple[int, int], ...], empty: tuple[int, ...] = (), folder: str | None = None
) -> None:
    """Images of noise with the four objects in each but the empty ones, whose annotations come last to first."""
    rng = np.random.default_rng(len(name))
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    where = root / (name if folder is None else folder)
    where.mkdir(parents=True, exist_ok=True)
    data: Annotations = {"images": [], "annotations": [], "categories": CATEGORIES}
    for i, (height, width) in enumerate(sizes):
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(where / f"{i}.png")
        data["images"].append({"id": 100 + 3 * i, "file_name": f"{i}.png", "height": height, "width": width})
        if i not in empty:
            found = [{**a, "image_id": 100 + 3 * i} for a in objects((height, width), 10 * i + 1)]
            data["annotations"] = found + data["annotations"]
    write_json(root, name, data)


def json_path(root: Path, name: str) -> Path:
    return root / "annotations" / f"instances_{name}.json"


def read_json(root: Path, name: str) -> Annotations:
    return json.loads(json_path(root, name).read_text())


def write_json(root: Path, name: str, data: object) -> None:
    json_path(root, name).write_text(json.dumps(data))


def write_folder(root: Path) -> Path:
    """Six training images, the fifth without objects, and three test images, the second without."""
    write_split(root, "train2017", SIZES, empty=(4,))
    write_split(root, "val2017", TESTED, empty=(1,))
    return root


def recipe_of(root: Path) -> ExperimentConfig:
    return make_config(
        task="detect",
        head="cascade_mask_rcnn",
        dataset="folder",
        data_root=str(root),
        img_size=32,
        patch_size=8,
        num_classes=3,
        global_batch_size=3,
        epochs=2,
        max_steps=4,
    )


def changing(root: Path) -> Callable[..., None]:
    """changing(root)(function): let it change the JSON of the test images, or of a split by its name."""

    def done(how: Callable[[Annotations], object], name: str = "val2017") -> None:
        data = read_json(root, name)
        how(data)
        write_json(root, name, data)

    return done
