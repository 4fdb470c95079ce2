"""Recipes on shapes, the generated data set: scaling laws on a laptop, in minutes."""

from experiments.recipes.variants import flexible, sizes_of
from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig


def deit_nano(patch: int) -> ExperimentConfig:
    """DeiT of width 48, 3 blocks, on shapes of 16 px: 16,384 images, each seen once.
    Run: python experiments/run.py shapes.deit_nano --patch 4.
    Expected test loss [nats] at patch 16, 8, 4, 2, 1, mean of five seeds: 0.731, 0.483, 0.317, 0.197, 0.139;
    of the ideal observer of means (scaling/data/generated/ideal_observer.py): 0.725, 0.478, 0.316, 0.208, 0.137.

    Departs: fixed sine-cosine positions, where the paper learns them. 512 steps are too few to learn the 256 positions
    of patch 1, and a sweep would measure how fast positions are learned instead of the effect of the patch size."""
    return make_config(
        dataset="shapes",
        backbone="deit_nano",
        img_size=16,
        patch_size=patch,
        num_classes=3,
        epochs=1,
        global_batch_size=32,
        num_train=16384,
        num_val=2048,
        lr=2e-3,
        warmup_epochs=0.1,
        pos_embed="sincos",
    )


def adventurer_nano(patch: int) -> ExperimentConfig:
    """Adventurer of width 48, 3 blocks, on shapes of 16 px; all else as deit_nano.
    Run: python experiments/run.py shapes.adventurer_nano --patch 4.
    Expected test loss [nats] at patch 16, 8, 4, 2, 1, mean of five seeds: 0.733, 0.483, 0.304, 0.211, 0.144."""
    return edit(deit_nano(patch), backbone="adventurer_nano")


def seg_nano(patch: int) -> ExperimentConfig:
    """Segmentation of up to four objects in 32 px by Adventurer of width 48 and one linear layer per token (--head
    upernet: a larger head).
    Run: python experiments/run.py shapes.seg_nano --patch 4.
    Expected mIoU at patch 16, 8, 4, 2, mean of three seeds: 48.5, 64.7, 79.3, 90.0 %, in 3 minutes on two cores."""
    return edit(
        adventurer_nano(patch),
        task="segment",
        img_size=32,
        num_classes=4,
        max_objects=4,
        head_channels=48,
    )


def det_nano(patch: int) -> ExperimentConfig:
    """Detection of up to four objects in 64 px by Cascade Mask R-CNN on Adventurer of width 48.
    Run: python experiments/run.py shapes.det_nano --patch 4.
    With version 1 of the data box AP at patch 16, 8, 4 was 11.2, 20.5, 37.7 %, in 8 minutes on two cores."""
    return edit(
        adventurer_nano(patch),
        task="detect",
        head="cascade_mask_rcnn",
        head_channels=32,
        img_size=64,
        max_objects=4,
        global_batch_size=8,
        epochs=1,
        num_train=2048,
        num_val=256,
        lr=1e-3,
    )


def flexi_deit_nano(patch: int) -> ExperimentConfig:
    """deit_nano with one set of weights for patches 16 to `patch`, each drawn equally often; all else, the
    number of steps and the sine-cosine positions too, as there, so that the curves differ by what is shared alone.
    Run: python experiments/run.py shapes.flexi_deit_nano --patch 1."""
    return edit(deit_nano(patch), patch_embed="flexible", step_shapes="random_patch")


def flexi_adventurer_nano(patch: int) -> ExperimentConfig:
    """adventurer_nano with one set of weights for patches 16 to `patch`; as flexi_deit_nano.
    Run: python experiments/run.py shapes.flexi_adventurer_nano --patch 1."""
    return edit(flexi_deit_nano(patch), backbone="adventurer_nano")


def flexi_seg_nano(patch: int) -> ExperimentConfig:
    """seg_nano with one set of weights, head included, for patches 16 to `patch`; as flexi_deit_nano. Not for 32, a
    whole image in one token.
    Run: python experiments/run.py shapes.flexi_seg_nano --patch 2."""
    return flexible(seg_nano(patch))


def flexi_det_nano(patch: int) -> ExperimentConfig:
    """det_nano with one set of weights, head included, for patches 16 to `patch`; as flexi_deit_nano.
    Run: python experiments/run.py shapes.flexi_det_nano --patch 4."""
    return flexible(det_nano(patch))


def navit_deit_nano(patch: int) -> ExperimentConfig:
    """deit_nano with images reduced to 8 to 16 px, the square root of the area drawn uniformly; evaluated at 16,
    12 and 8 px. All else, the number of images too, is as there.
    Run: python experiments/run.py shapes.navit_deit_nano --patch 2."""
    return edit(deit_nano(patch), packing="sequences", image_sizes="8-16", eval_img_sizes=sizes_of(patch, (8, 12)))


def navit_adventurer_nano(patch: int) -> ExperimentConfig:
    """navit_deit_nano with Adventurer.
    Run: python experiments/run.py shapes.navit_adventurer_nano --patch 2."""
    return edit(navit_deit_nano(patch), backbone="adventurer_nano")


def rectangles_deit_nano(patch: int) -> ExperimentConfig:
    """deit_nano on rectangles of about 16 x 16 px, width : height from 0.5 to 2, each at its own size: patches
    of 1 and 2 px tile all of them. --keep-aspect-ratio false resizes them to squares of as many pixels.
    Run: python experiments/run.py shapes.rectangles_deit_nano --patch 2.
    Test loss of the ideal observer of means at patch 2 and 1: 0.236, 0.155 nats."""
    return edit(deit_nano(patch), packing="sequences", aspect_ratios="0.5-2")


def rectangles_adventurer_nano(patch: int) -> ExperimentConfig:
    """rectangles_deit_nano with Adventurer.
    Run: python experiments/run.py shapes.rectangles_adventurer_nano --patch 2."""
    return edit(rectangles_deit_nano(patch), backbone="adventurer_nano")


def navit_seg_nano(patch: int) -> ExperimentConfig:
    """seg_nano on rectangles of about 32 x 32 px, width : height from 0.5 to 2, whole and each at its own size:
    patches of 1, 2 and 4 px tile all of them. --backbone deit_nano: the other backbone.
    Run: python experiments/run.py shapes.navit_seg_nano --patch 4."""
    return edit(seg_nano(patch), packing="sequences", aspect_ratios="0.5-2")
