"""Recipes on shapes, the generated data set: scaling laws on a laptop, in minutes."""

from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig


def deit_nano(patch: int) -> ExperimentConfig:
    """DeiT of width 48, 3 blocks, on 16 px shapes: two passes over 8,192 images.
    Run: python experiments/run.py shapes.deit_nano --patch 4.
    Expected test loss [nats] at patch 16, 8, 4, 2, 1, mean of three seeds: 2.02, 1.30, 0.86, 0.45, 0.43.

    Departs: fixed sine-cosine positions, where the paper learns them: 256 learned positions (patch 1) are not found in
    512 steps, and a sweep would then measure how fast positions are learned instead of what patches give."""
    return make_config(
        dataset="shapes",
        backbone="deit_nano",
        img_size=16,
        patch_size=patch,
        num_classes=12,
        epochs=2,
        global_batch_size=32,
        num_train=8192,
        num_val=2048,
        lr=2e-3,
        warmup_epochs=0.5,
        pos_embed="sincos",
    )


def adventurer_nano(patch: int) -> ExperimentConfig:
    """Adventurer of width 48, 3 blocks, on 16 px shapes; all else as deit_nano.
    Run: python experiments/run.py shapes.adventurer_nano --patch 4."""
    return edit(deit_nano(patch), backbone="adventurer_nano")


def seg_nano(patch: int) -> ExperimentConfig:
    """Segmentation: up to four objects in 32 px, a class for every pixel, by Adventurer of width 48. --head upernet has
    the larger head. make sweep RECIPE=shapes.seg_nano PATCH=16,8,4,2 ARGS="--head linear" takes minutes on two cores.
    Run: python experiments/run.py shapes.seg_nano --patch 4."""
    return edit(
        adventurer_nano(patch),
        task="segment",
        img_size=32,
        num_classes=13,
        max_objects=4,
        head_channels=48,
    )


def det_nano(patch: int) -> ExperimentConfig:
    """Detection: up to four objects in 64 px, Cascade Mask R-CNN on Adventurer of width 48.
    make sweep RECIPE=shapes.det_nano PATCH=16,8,4 takes minutes on two cores.
    Run: python experiments/run.py shapes.det_nano --patch 4."""
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
