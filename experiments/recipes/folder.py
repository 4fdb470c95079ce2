"""Recipes for a folder of your own images. Classes and images are counted when a recipe is requested by name; batch
size and epochs follow from the number of images, so that a run has a thousand steps or more. The numbers in the
signatures are for a folder that does not exist.

Classification: train/CLASS/ and test/CLASS/. Segmentation: images/ and annotations/, each with train/ and test/.
Detection: COCO's layout. Any field can be overridden, such as --backbone deit_small --img-size 224 --epochs 100.
"""

from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig

STEPS = 1000  # minimum of a run
OF_EPOCH = 16  # minimum of steps in an epoch, as far as batches of FEWEST images allow
FEWEST = 4  # minimum of images in a batch, where there are as many
EPOCHS = 10  # minimum


def deit_nano(patch: int, classes: int = 10, train_images: int = 5000) -> ExperimentConfig:
    """DeiT of width 48, 3 blocks, on images of 64 px.
    Run: python experiments/run.py folder.deit_nano --patch 8 --data-root DIR."""
    return make_config(
        dataset="folder",
        backbone="deit_nano",
        img_size=64,
        patch_size=patch,
        num_classes=classes,
        **_length(train_images, most=64),
        augment="pad_crop_flip",
        lr=1e-3,
        pos_embed="sincos",
    )


def adventurer_nano(patch: int, classes: int = 10, train_images: int = 5000) -> ExperimentConfig:
    """Adventurer of width 48, 3 blocks; all else as deit_nano.
    Run: python experiments/run.py folder.adventurer_nano --patch 8 --data-root DIR."""
    return edit(deit_nano(patch, classes, train_images), backbone="adventurer_nano")


def seg_nano(patch: int, classes: int = 10, train_images: int = 5000) -> ExperimentConfig:
    """Segmentation by Adventurer of width 48 and one linear layer per token (--head upernet: a larger head), on crops
    of 128 px; the classes are those of classes.txt, else of the labels.
    Run: python experiments/run.py folder.seg_nano --patch 8 --data-root DIR."""
    return edit(
        adventurer_nano(patch, classes),
        task="segment",
        img_size=128,
        **_length(train_images, most=16),
        augment="resize_crop",
        lr_schedule="linear",
        head_channels=48,
    )


def det_nano(patch: int, classes: int = 10, train_images: int = 5000) -> ExperimentConfig:
    """Detection by Adventurer of width 48 and Cascade Mask R-CNN, on whole images at a short side of 256 px.
    Run: python experiments/run.py folder.det_nano --patch 8 --data-root DIR."""
    return edit(
        adventurer_nano(patch, classes),
        task="detect",
        head="cascade_mask_rcnn",
        head_channels=32,
        img_size=256,
        resize_short=256,
        **_length(train_images, most=4),
        augment="flip",
    )


def _length(train_images: int, most: int) -> dict[str, float]:
    """Batch, epochs and warm-up for a number of images. most: the largest batch."""
    batch = most
    while batch > FEWEST and train_images // batch < OF_EPOCH:
        batch //= 2
    batch = max(1, min(batch, train_images))
    epochs = max(EPOCHS, -(-STEPS // max(1, train_images // batch)))
    return {"global_batch_size": batch, "epochs": epochs, "warmup_epochs": epochs / 10}
