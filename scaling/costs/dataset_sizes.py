"""Numbers of images of well-known data sets, for costs without reading the data."""

import math

from scaling.config.experiment import ExperimentConfig
from scaling.config.task import Detection

IMAGENET_IMAGES = 1_281_167  # ImageNet-1k's training images
IMAGES = {  # training and test images of a recipe that uses all of them
    "shapes": (2**20, 2**14),  # the embedded set is generated: this many where a recipe sets no number
    "imagenet": (IMAGENET_IMAGES, 50_000),
    "cifar10": (50_000, 10_000),
    "ade20k": (20_210, 2_000),
    "coco": (117_266, 5_000),  # training images with at least one object
}
EMPTY = {"coco": 1_021}  # training images without an object, used with empty_images=keep


def epoch_images(run: ExperimentConfig) -> tuple[float, float]:
    """Training images per epoch, and test images [1]; nan: unknown without the data."""
    train, test = IMAGES.get(run.data.dataset, (math.nan, 0))
    if isinstance(run.task, Detection) and not run.task.filter_empty_gt:
        train += EMPTY.get(run.data.dataset, 0)
    return float(run.data.num_train or train) * (1 - run.data.val_split), float(run.data.num_val or test)
