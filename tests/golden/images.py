"""Small data sets drawn from fixed seeds, in the layouts that the shipped recipes read: what golden runs train on."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from tests.coco_folder import Annotations, changing, write_folder

CLASSES = ("bird", "cat", "dog")
CLASSIFICATION = ("golden_imagenet", "golden_cifar10", "golden_classes")
SEGMENTATION = ("golden_ade20k", "golden_camvid", "golden_scenes")
DETECTION = ("golden_coco", "golden_nuclei", "golden_objects")


def drawn(seed: int, height: int, width: int) -> Image.Image:
    """A colour gradient with a rectangle and a little noise: edges, smooth areas and texture."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    corner, side = rng.integers(0, min(height, width) // 2, 2), min(height, width) // 2
    start, down, right = rng.uniform(0, 200, (3, 1, 1)), *rng.uniform(-2, 2, (2, 3, 1, 1))
    values = start + down * y + right * x
    values[:, corner[0] : corner[0] + side, corner[1] : corner[1] + side] = rng.uniform(0, 255, (3, 1, 1))
    values = values + rng.normal(0, 8, values.shape)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def _write_classes(root: Path) -> None:
    """train/CLASS and test/CLASS: PNG files of two sizes, and one in training that is cut off."""
    for split, images in (("train", 5), ("test", 3)):
        for label, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(images):
                height, width = ((40, 56), (50, 36))[i % 2]
                drawn(1000 * len(split) + 100 * label + i, height, width).save(folder / f"{i}.png")
    if root.name == "golden_imagenet":  # its recipes skip what cannot be read
        path = root / "train" / "cat" / "1.png"
        path.write_bytes(path.read_bytes()[:-200])


def _write_scenes(root: Path) -> None:
    """images/ and annotations/, each with training/ and validation/: labels 0 to 3 in blocks of 8 px."""
    for split, images in (("training", 9), ("validation", 3)):
        for i in range(images):
            height, width = ((40, 56), (64, 48))[i % 2]
            seed = 10 * len(split) + i
            grid = np.random.default_rng(seed).integers(0, 4, (height // 8, width // 8))
            label = Image.fromarray(grid.repeat(8, 0).repeat(8, 1).astype(np.uint8))
            for folder, image in (("images", drawn(seed, height, width)), ("annotations", label)):
                path = root / folder / split / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                image.save(path)


def _write_objects(root: Path) -> None:
    """COCO's layout, with three categories; one of them in the data set that has one class."""
    write_folder(root)
    if root.name == "golden_nuclei":
        for split in ("train2017", "val2017"):
            changing(root)(_with_one_category, split)


def _with_one_category(data: Annotations) -> None:
    data["categories"] = [c for c in data["categories"] if c["id"] == 7]
    data["annotations"] = [a for a in data["annotations"] if a["category_id"] == 7]


def write_all(root: Path) -> Path:
    """Every data set in a folder of its own below root."""
    for names, write in ((CLASSIFICATION, _write_classes), (SEGMENTATION, _write_scenes), (DETECTION, _write_objects)):
        for name in names:
            write(root / name)
    return root


def resized() -> float:
    """The mean of an image of bytes that torchvision has resized. Without AVX2 it takes another way, and some pixels
    differ by one."""
    image = torch.from_numpy(np.asarray(drawn(0, 40, 56)).copy()).permute(2, 0, 1)
    return float(F.resize_image(image, [29, 41], antialias=True).double().mean())
