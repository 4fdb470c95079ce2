"""Recipes on CamVid (Brostow 2009, SegNet's split): street scenes of 480 x 360 px, 11 classes, 11 = void.

Layout: images/{train,test}/*.jpg, annotations/{train,test}/*.png.
"""

from experiments.recipes.variants import sizes_of
from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig


def adventurer_nano(patch: int) -> ExperimentConfig:
    """Adventurer of width 48, 3 blocks, from scratch on crops of 128 px of images resized to a short side of 192 px.
    Run: python experiments/run.py camvid.adventurer_nano --patch 8 --head linear --data-root /data/camvid.
    Expected mIoU at patch 16, 8, 4: 26.5, 29.7, 32.0 %; --head upernet: 31.8, 37.4, 40.7 %."""
    return make_config(
        task="segment",
        dataset="camvid",
        data_root="camvid",
        backbone="adventurer_nano",
        img_size=128,
        resize_short=192,
        patch_size=patch,
        num_classes=11,
        ignore_index=11,
        class_names=(
            "sky",
            "building",
            "pole",
            "road",
            "pavement",
            "tree",
            "sign",
            "fence",
            "car",
            "pedestrian",
            "bicyclist",
        ),
        epochs=60,
        global_batch_size=16,
        augment="resize_crop_photometric",
        lr=2e-3,
        warmup_epochs=3.0,
        lr_schedule="linear",
        pos_embed="sincos",
        head_channels=48,
    )


def navit_nano(patch: int) -> ExperimentConfig:
    """adventurer_nano on whole images: a shorter side of 96 to 192 px, drawn uniformly, instead of crops of
    128 px, and flipped alone; evaluated at 192, 144 and 96 px. The number of images is as there.
    Run: python experiments/run.py camvid.navit_nano --patch 8 --data-root /data/camvid."""
    return edit(
        adventurer_nano(patch),
        img_size=192,
        resize_short=None,
        augment="flip",
        packing="sequences",
        image_sizes="96-192",
        size_measure="side",
        eval_img_sizes=sizes_of(patch, (96, 144)),
    )
