"""Recipes on CamVid (Brostow 2009, SegNet's split): street scenes of 480 x 360 px, 11 classes, 11 = void.

Layout: images/{train,test}/*.jpg, annotations/{train,test}/*.png.
"""

from scaling.recipe import Recipe


def adventurer_nano(patch: int) -> Recipe:
    """Adventurer of width 48, 3 blocks, from scratch on crops of 128 px of images brought to a short side of 192 px.
    Run: python experiments/run.py camvid.adventurer_nano --patch 8 --head linear --data-root /data/camvid."""
    return Recipe(
        task="segment",
        data="camvid",
        data_root="camvid",
        backbone="adventurer_nano",
        image=128,
        short_side=192,
        patch=patch,
        classes=11,
        unlabelled=11,
        class_names="sky,building,pole,road,pavement,tree,sign,fence,car,pedestrian,bicyclist",
        epochs=60,
        batch=16,
        augment="scale_crop_distort",
        lr=2e-3,
        warmup_epochs=3.0,
        schedule="poly",
        position="sincos",
        head_channels=48,
    )
