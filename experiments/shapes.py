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
