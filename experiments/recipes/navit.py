"""Recipes of images of any sizes in rows of tokens (NaViT, arXiv 2307.06304): several images share a row, each with the
size that was drawn for it.

--patch is fixed; the number of tokens of an image varies with its size. A finished run is evaluated at several sizes.
"""

from experiments.recipes import cifar10, shapes
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


def _sizes(patch: int, wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Those of the sizes [px] that the patch divides."""
    return tuple(size for size in wanted if size % patch == 0)
