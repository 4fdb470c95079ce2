"""Recipes on CIFAR-10 (Krizhevsky 2009): real images of 32 px, as train.tar and test.tar or as class folders."""

from dataclasses import replace

from scaling.recipe import Recipe


def deit_nano(patch: int) -> Recipe:
    """DeiT of width 48, 3 blocks, 32 px: three passes over 10,000 images of CIFAR-10, tested on 2,000.
    Run: python experiments/run.py cifar10.deit_nano --patch 4 --data-root /data/cifar10.
    All five patches of both backbones take about half an hour on two cores (docs/results.md)."""
    return Recipe(
        data="cifar10",
        data_root="cifar10",
        backbone="deit_nano",
        image=32,
        patch=patch,
        classes=10,
        epochs=3,
        batch=32,
        train_images=10_000,
        test_images=2_000,
        augment="flip",
        lr=2e-3,
        warmup_epochs=0.5,
        position="sincos",
    )


def adventurer_nano(patch: int) -> Recipe:
    """Adventurer of width 48, 3 blocks; all else as deit_nano.
    Run: python experiments/run.py cifar10.adventurer_nano --patch 4 --data-root /data/cifar10."""
    return replace(deit_nano(patch), backbone="adventurer_nano")
