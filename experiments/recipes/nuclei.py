"""Recipes on nuclei (Data Science Bowl 2018, CC0, in COCO format): microscope images of 256 to 360 px, one class."""

from scaling.recipe import Recipe


def adventurer_nano(patch: int) -> Recipe:
    """Cascade Mask R-CNN on Adventurer of width 48, 3 blocks, from scratch on whole images at a short side of 256 px.
    Run: python experiments/run.py nuclei.adventurer_nano --patch 8 --data-root /data/nuclei."""
    return Recipe(
        task="detect",
        head="cascade",
        head_channels=32,
        data="nuclei",
        data_root="nuclei",
        backbone="adventurer_nano",
        image=256,
        short_side=256,
        patch=patch,
        classes=1,
        epochs=3,
        batch=4,
        augment="flip",
        lr=1e-3,
        warmup_epochs=0.5,
        schedule="steps",
        milestones="2",
        position="sincos",
    )
