"""Recipes on nuclei (Data Science Bowl 2018, CC0, in COCO format): microscope images of 256 to 360 px, one class."""

from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig


def adventurer_nano(patch: int) -> ExperimentConfig:
    """Cascade Mask R-CNN on Adventurer of width 48, 3 blocks, from scratch on whole images at a short side of 256 px.
    Run: python experiments/run.py nuclei.adventurer_nano --patch 8 --data-root /data/nuclei.
    Expected box AP / mask AP [%] at patch 16, 8, 4: 24.3 / 24.0, 35.6 / 36.6, 36.1 / 38.3."""
    return make_config(
        task="detect",
        head="cascade_mask_rcnn",
        head_channels=32,
        dataset="nuclei",
        data_root="nuclei",
        backbone="adventurer_nano",
        img_size=256,
        resize_short=256,
        patch_size=patch,
        num_classes=1,
        epochs=3,
        global_batch_size=4,
        augment="flip",
        lr=1e-3,
        warmup_epochs=0.5,
        lr_schedule="multistep",
        milestones=(2,),
        pos_embed="sincos",
    )


def navit_nano(patch: int) -> ExperimentConfig:
    """Segmentation of nuclei and background, by the model of adventurer_nano and one linear layer per token, on
    whole microscope images at their own sizes, 256 to 360 px (costs are planned for 256 px).
    Run: python experiments/run.py nuclei.navit_nano --patch 8 --data-root /data/nuclei."""
    return edit(
        adventurer_nano(patch),
        task="segment",
        num_classes=2,
        head="linear",
        augment="flip",
        resize_short=None,
        packing="sequences",
        epochs=10,
        lr_schedule="linear",
    )
