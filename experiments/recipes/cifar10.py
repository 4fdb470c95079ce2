"""Recipes on CIFAR-10 (Krizhevsky 2009): real images of 32 px, as train.tar and test.tar or as class folders."""

from dataclasses import replace

from experiments.stages import linked
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


def adventurer_stages(patch: int, image: int = 64) -> list[Recipe]:
    """The three stages of imagenet.adventurer_base in small: adventurer_nano, pretrained at half the image size, then
    trained and finetuned at it (CIFAR-10's 32 px enlarged to 64), with learned positions that are resampled between.
    Run: python experiments/run.py cifar10.adventurer_stages --patch 8 --data-root /data/cifar10.
    Both patches 8 and 4 take about a quarter of an hour on two cores (docs/results.md)."""
    first = replace(
        adventurer_nano(patch),
        stage="pretrain",
        image=image // 2,
        position="learned",
        augment="three_augment_simple",
        epochs=6,
        batch=64,
        lr=2e-3,
        lr_batch=64,
        warmup_epochs=1.0,
        drop_path=0.05,
        repeats=2,
        mixup=0.2,
        ema=0.995,
    )
    middle = replace(first, stage="intermediate", image=image, epochs=2, lr=1e-3, warmup_epochs=0.2, layer_decay=0.9)
    last = replace(
        middle,
        stage="finetune",
        augment="resized_crop",
        rand_augment="rand-m5-mstd0.5-inc1",
        mixup=0.0,
        repeats=1,
        smoothing=0.1,
        epochs=1,
        lr=1e-4,
        lr_batch=0,
        layer_decay=0.95,
    )
    return linked([first, middle, last])
