"""Recipes of images of any sizes in rows of tokens (NaViT, arXiv 2307.06304): several images share a row, each with the
size that was drawn for it.

--patch is fixed; the number of tokens of an image varies with its size. A finished run is evaluated at several sizes.
"""

from experiments.recipes import camvid, cifar10, nuclei, shapes
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig


def deit_nano(patch: int) -> ExperimentConfig:
    """shapes.deit_nano with images reduced to 8 to 16 px, the square root of the area drawn uniformly; evaluated at 16,
    12 and 8 px. All else, the number of images too, is as there.
    Run: python experiments/run.py navit.deit_nano --patch 2."""
    return edit(shapes.deit_nano(patch), packing="sequences", image_sizes="8-16", eval_img_sizes=_sizes(patch, (8, 12)))


def adventurer_nano(patch: int) -> ExperimentConfig:
    """deit_nano with Adventurer.
    Run: python experiments/run.py navit.adventurer_nano --patch 2."""
    return edit(deit_nano(patch), backbone="adventurer_nano")


def cifar10_deit_nano(patch: int) -> ExperimentConfig:
    """cifar10.deit_nano with images reduced to 16 to 32 px; evaluated at 32, 24 and 16 px. All else, the number of
    images too, is as there.
    Run: python experiments/run.py navit.cifar10_deit_nano --patch 4 --data-root /data/cifar10."""
    return edit(
        cifar10.deit_nano(patch), packing="sequences", image_sizes="16-32", eval_img_sizes=_sizes(patch, (16, 24))
    )


def cifar10_adventurer_nano(patch: int) -> ExperimentConfig:
    """cifar10_deit_nano with Adventurer.
    Run: python experiments/run.py navit.cifar10_adventurer_nano --patch 4 --data-root /data/cifar10."""
    return edit(cifar10_deit_nano(patch), backbone="adventurer_nano")


def rectangles_deit_nano(patch: int) -> ExperimentConfig:
    """shapes.deit_nano on rectangles of about 16 x 16 px, width : height from 0.5 to 2, each at its own size: patches
    of 1 and 2 px tile all of them. --keep-aspect-ratio false resizes them to squares of as many pixels.
    Run: python experiments/run.py navit.rectangles_deit_nano --patch 2.
    Test loss of the ideal observer of means at patch 2 and 1: 0.236, 0.155 nats."""
    return edit(shapes.deit_nano(patch), packing="sequences", aspect_ratios="0.5-2")


def rectangles_adventurer_nano(patch: int) -> ExperimentConfig:
    """rectangles_deit_nano with Adventurer.
    Run: python experiments/run.py navit.rectangles_adventurer_nano --patch 2."""
    return edit(rectangles_deit_nano(patch), backbone="adventurer_nano")


def seg_nano(patch: int) -> ExperimentConfig:
    """shapes.seg_nano on rectangles of about 32 x 32 px, width : height from 0.5 to 2, whole and each at its own size:
    patches of 1, 2 and 4 px tile all of them. --backbone deit_nano: the other backbone.
    Run: python experiments/run.py navit.seg_nano --patch 4."""
    return edit(shapes.seg_nano(patch), packing="sequences", aspect_ratios="0.5-2")


def camvid_nano(patch: int) -> ExperimentConfig:
    """camvid.adventurer_nano on whole images: a shorter side of 96 to 192 px, drawn uniformly, instead of crops of
    128 px, and flipped alone; evaluated at 192, 144 and 96 px. The number of images is as there.
    Run: python experiments/run.py navit.camvid_nano --patch 8 --data-root /data/camvid."""
    return edit(
        camvid.adventurer_nano(patch),
        img_size=192,
        resize_short=None,
        augment="flip",
        packing="sequences",
        image_sizes="96-192",
        size_measure="side",
        eval_img_sizes=_sizes(patch, (96, 144)),
    )


def nuclei_nano(patch: int) -> ExperimentConfig:
    """Segmentation of nuclei and background, by the model of nuclei.adventurer_nano and one linear layer per token, on
    whole microscope images at their own sizes, 256 to 360 px (costs are planned for 256 px).
    Run: python experiments/run.py navit.nuclei_nano --patch 8 --data-root /data/nuclei."""
    return edit(
        nuclei.adventurer_nano(patch),
        task="segment",
        num_classes=2,
        head="linear",
        augment="flip",
        resize_short=None,
        packing="sequences",
        epochs=10,
        lr_schedule="linear",
    )


def _sizes(patch: int, wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Those of the sizes [px] that the patch divides."""
    return tuple(size for size in wanted if size % patch == 0)
