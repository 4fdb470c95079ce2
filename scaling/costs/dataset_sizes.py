"""Images of data sets that everybody has alike: how many an epoch trains on, and how many are tested. No torch."""

import math

from scaling.recipe import Recipe

IMAGENET_IMAGES = 1_281_167  # ImageNet-1k's training images
IMAGES = {  # training and test images, where a recipe takes all
    "shapes": (2**20, 2**14),  # of the embedded set, which has no end, as many as scaling/data draws then
    "imagenet": (IMAGENET_IMAGES, 50_000),
    "cifar10": (50_000, 10_000),
    "ade20k": (20_210, 2_000),
    "coco": (117_266, 5_000),  # those to train on that have an object in them
}
EMPTY = {"coco": 1_021}  # training images without an object, which a recipe may keep


def epoch_images(run: Recipe) -> tuple[float, float]:
    """Training images of an epoch, and test images; nan: that is for the data to say."""
    train, test = IMAGES.get(run.data, (math.nan, 0))
    if run.empty_images == "keep":
        train += EMPTY.get(run.data, 0)
    return float(run.train_images or train) * (1 - run.val_split), float(run.test_images or test)
