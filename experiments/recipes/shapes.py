"""Recipes on the embedded data set: the law on a laptop, in minutes."""

from dataclasses import replace

from scaling.recipe import Recipe


def deit_nano(patch: int) -> Recipe:
    """DeiT of width 48, 3 blocks, on 16 px shapes: two passes over 8,192 images.
    Run: python experiments/run.py shapes.deit_nano --patch 4.

    Departs: fixed sine-cosine positions, where the paper learns them: 256 learned positions (patch 1) are not found in
    512 steps, and a sweep would then measure how fast positions are learned instead of what patches give."""
    return Recipe(
        data="shapes",
        backbone="deit_nano",
        image=16,
        patch=patch,
        classes=12,
        epochs=2,
        batch=32,
        train_images=8192,
        test_images=2048,
        lr=2e-3,
        warmup_epochs=0.5,
        position="sincos",
    )


def adventurer_nano(patch: int) -> Recipe:
    """Adventurer of width 48, 3 blocks, on 16 px shapes; all else as deit_nano.
    Run: python experiments/run.py shapes.adventurer_nano --patch 4."""
    return replace(deit_nano(patch), backbone="adventurer_nano")


def seg_nano(patch: int) -> Recipe:
    """Segmentation: up to four objects in 32 px, a class for every pixel, by Adventurer of width 48. --head upernet has
    the larger head. make sweep RECIPE=shapes.seg_nano PATCH=16,8,4,2 ARGS="--head linear" takes minutes on two cores.
    Run: python experiments/run.py shapes.seg_nano --patch 4."""
    return replace(
        adventurer_nano(patch),
        task="segment",
        image=32,
        classes=13,
        objects=4,
        head_channels=48,
    )


def det_nano(patch: int) -> Recipe:
    """Detection: up to four objects in 64 px, Cascade Mask R-CNN on Adventurer of width 48.
    make sweep RECIPE=shapes.det_nano PATCH=16,8,4 takes minutes on two cores.
    Run: python experiments/run.py shapes.det_nano --patch 4."""
    return replace(
        adventurer_nano(patch),
        task="detect",
        head="cascade",
        head_channels=32,
        image=64,
        objects=4,
        batch=8,
        epochs=1,
        train_images=2048,
        test_images=256,
        lr=1e-3,
    )
