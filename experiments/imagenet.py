"""Recipes on ImageNet-1k: folders train/ and val/ with one folder a class.

These are the plain supervised recipes at 224 px; expected figures are those of Tables 1 and 4 of arXiv 2502.03738
(DeiT-Base and Adventurer there have 3-Augment, mixing and stages that are not part of these recipes yet).
"""

from dataclasses import replace

from scaling.recipe import Recipe


def deit_tiny(patch: int) -> Recipe:
    """DeiT-Tiny, 224 px, 300 epochs, AdamW 1e-3 at batch 1024, drop path 0.1 (arXiv 2012.12877, Table 9).
    Run: python experiments/run.py imagenet.deit_tiny --patch 16 --data-root /data/imagenet."""
    return Recipe(
        data="imagenet",
        data_root="imagenet",
        backbone="deit_tiny",
        image=224,
        patch=patch,
        classes=1000,
        epochs=300,
        batch=1024,
        augment="resized_crop",
        bad_images="skip",
        lr=1e-3,
        weight_decay=0.05,
        warmup_epochs=5.0,
        smoothing=0.1,
        drop_path=0.1,
        eval_every=10,
    )


def deit_small(patch: int) -> Recipe:
    """DeiT-Small, all else as deit_tiny.
    Run: python experiments/run.py imagenet.deit_small --patch 16 --data-root /data/imagenet."""
    return replace(deit_tiny(patch), backbone="deit_small")


def deit_base(patch: int) -> Recipe:
    """DeiT-Base, all else as deit_tiny.
    Run: python experiments/run.py imagenet.deit_base --patch 16 --data-root /data/imagenet."""
    return replace(deit_tiny(patch), backbone="deit_base")


def adventurer_tiny(patch: int) -> Recipe:
    """Adventurer-Tiny, 224 px, the pretraining stage's optimiser (Table 8 of arXiv 2502.03738; 5e-4 at batch 512, so
    1e-3 at 1024). Run: python experiments/run.py imagenet.adventurer_tiny --patch 16 --data-root /data/imagenet."""
    return replace(deit_tiny(patch), backbone="adventurer_tiny", smoothing=0.0)


def adventurer_small(patch: int) -> Recipe:
    """Adventurer-Small, all else as adventurer_tiny.
    Run: python experiments/run.py imagenet.adventurer_small --patch 16 --data-root /data/imagenet."""
    return replace(adventurer_tiny(patch), backbone="adventurer_small")


def adventurer_base(patch: int) -> Recipe:
    """Adventurer-Base, all else as adventurer_tiny.
    Run: python experiments/run.py imagenet.adventurer_base --patch 16 --data-root /data/imagenet."""
    return replace(adventurer_tiny(patch), backbone="adventurer_base")
