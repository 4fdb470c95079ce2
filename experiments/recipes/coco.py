"""Recipes on COCO (train2017/, val2017/, annotations/instances_{train,val}2017.json), for any data in its format.

Source: Table 3 of arXiv 2502.03738 and the settings in its sections 4.1 and 4.2 (Tables 8 to 10 of its appendix are for
ImageNet only): Cascade Mask R-CNN, AdamW, 1e-4, weight decay 0.05, batch 16, 12 epochs. Values that the paper does not
state are those of mmdetection's 1x schedule: a tenth of the rate from epochs 8 and 11 on, warm-up of 500 iterations,
short side 800 px and long side at most 1333, flip. The backbone starts from the classification run of the same patch
size, imagenet.NAME at 224 px (256 at patch 64, which does not divide 224), which is looked up in the results folder;
its positions are resampled to the size of each image.

python experiments/sweep.py coco.adventurer_tiny --patch 32,16,8,4 --data-root /data/coco
Expected AP [%] is that of Table 3, box / mask. A run at patch 64 is in a group, and thus in a law, of its own.

Departs: no batch norm; feature maps as in scaling/heads/cascade_mask_rcnn.py. The paper does not specify its neck.
"""

from experiments.recipes import imagenet
from experiments.stages import chain_of
from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig
from scaling.config.initialization import FromRun


def adventurer_tiny(patch: int) -> ExperimentConfig:
    """Adventurer-Tiny. Expected at 32, 16, 8, 4, 2: 44.7 / 38.4, 46.5 / 40.3, 48.0 / 41.7, 48.5 / 42.2, 48.7 / 42.4.
    Patch 2 gives 268,800 tokens per image, above the default limit: SCALING_MOST_TOKENS=268800 allows it.
    Run: python experiments/run.py coco.adventurer_tiny --patch 16 --data-root /data/coco."""
    return _detect(chain_of(imagenet.adventurer_tiny(patch, _side(patch)))[-1])


def adventurer_base(patch: int) -> ExperimentConfig:
    """Adventurer-Base. Expected at 64, 32, 16, 8, 4: 44.1 / 38.3, 46.4 / 40.6, 48.4 / 42.0, 49.5 / 42.9, 50.3 / 43.4.
    Run: python experiments/run.py coco.adventurer_base --patch 16 --data-root /data/coco."""
    return _detect(chain_of(imagenet.adventurer_base(patch, _side(patch)))[-1])


def adventurer_base_lsj(patch: int) -> ExperimentConfig:
    """Adventurer-Base by the usual recipe for detectors on plain backbones (ViTDet, arXiv 2203.16527): crops of 1024
    px under large-scale jitter, 100 epochs, batch 64, layer-wise decay 0.7, drop path 0.1, weight decay 0.1. ViTDet's
    Cascade ViT-B has 54.0 / 46.7 at patch 16 (from MAE); nothing is published for Adventurer.
    Run: python experiments/run.py coco.adventurer_base_lsj --patch 16 --data-root /data/coco."""
    return edit(
        adventurer_base(patch),
        img_size=1024,
        resize_short=1024,
        max_long=1024,
        augment="lsj",
        epochs=100,
        global_batch_size=64,
        weight_decay=0.1,
        layer_decay=0.7,
        drop_path=0.1,
        milestones=(89, 96),
        warmup_steps=250,
    )


def _side(patch: int) -> int:
    return 256 if 224 % patch else 224


def _detect(classifier: ExperimentConfig) -> ExperimentConfig:
    """classifier: run that the backbone starts from, with its grid of positions."""
    return make_config(
        task="detect",
        head="cascade_mask_rcnn",
        head_channels=256,
        dataset="coco",
        data_root="coco",
        backbone=classifier.model.backbone,
        img_size=classifier.model.img_size,
        resize_short=800,
        max_long=1333,
        patch_size=classifier.model.patch_size,
        num_classes=80,
        epochs=12,
        global_batch_size=16,
        augment="flip",
        on_bad_image="skip",
        lr=1e-4,
        weight_decay=0.05,
        warmup_steps=500,
        lr_schedule="multistep",
        milestones=(8, 11),
        max_grad_norm=None,
        drop_path=classifier.model.drop_path,
        init=FromRun(config=classifier),
    )
