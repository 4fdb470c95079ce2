"""Recipes on the embedded data set: the law on a laptop, in minutes."""

from dataclasses import replace

from scaling.recipe import Recipe


def deit_nano(patch: int) -> Recipe:
    """DeiT of width 64, 4 blocks, on 16 px shapes.
    Run: python experiments/run.py shapes.deit_nano --patch 4."""
    return Recipe(
        data="shapes",
        backbone="deit_nano",
        image=16,
        patch=patch,
        classes=12,
        epochs=4,
        batch=64,
        train_images=4096,
        test_images=2048,
        lr=2e-3,
        warmup_epochs=0.5,
    )


def adventurer_nano(patch: int) -> Recipe:
    """Adventurer of width 64, 4 blocks, on 16 px shapes; all else as deit_nano.
    Run: python experiments/run.py shapes.adventurer_nano --patch 4."""
    return replace(deit_nano(patch), backbone="adventurer_nano")
