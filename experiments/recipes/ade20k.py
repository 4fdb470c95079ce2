"""Recipes on ADE20K (ADEChallengeData2016: images/ and annotations/, each with training/ and validation/).

Source: Table 2 of arXiv 2502.03738 and the settings in its sections 4.1 and 4.2 (Tables 8 to 10 of its appendix are for
ImageNet only): AdamW, 5e-5, weight decay 0.01, batch 16, 160,000 iterations, crops of 512 px. Values that the paper
does not state are those of mmsegmentation's schedule for transformers: linear warm-up of 1,500 iterations, then linear
decay (poly with power 1), random scale 0.5 to 2, flip, photometric distortion, no layer-wise decay. The backbone starts
from the classification run of the same patch size, imagenet.NAME at 224 px, which is looked up in the results folder;
positions are resampled.

python experiments/sweep.py ade20k.adventurer_tiny --patch 16,8,4,2 --head linear --data-root /data/ADEChallengeData2016
Expected mIoU [%] is that of Table 2, at patch 16, 8, 4, 2.

Departs: UperNet with group norm, without dropout and without an auxiliary head (scaling/heads/segmentation.py).
"""

from experiments.recipes import imagenet
from experiments.stages import chain_of
from scaling.config.edit import make_config
from scaling.config.experiment import ExperimentConfig
from scaling.config.initialization import FromRun


def adventurer_tiny(patch: int, image: int = 512) -> ExperimentConfig:
    """Adventurer-Tiny. Expected: --head linear 40.0, 41.6, 42.1, 42.5; --head upernet 41.3 at patch 16.
    Run: python experiments/run.py ade20k.adventurer_tiny --patch 16 --head linear --data-root DIR."""
    return _segment(chain_of(imagenet.adventurer_tiny(patch))[-1], image)


def adventurer_base(patch: int, image: int = 512) -> ExperimentConfig:
    """Adventurer-Base. Expected: --head linear 44.0, 45.5, 46.3, 46.8; --head upernet 45.7 at patch 16.
    Run: python experiments/run.py ade20k.adventurer_base --patch 8 --head linear --data-root DIR."""
    return _segment(chain_of(imagenet.adventurer_base(patch))[-1], image)


def _segment(classifier: ExperimentConfig, image: int) -> ExperimentConfig:
    """classifier: run that the backbone starts from.  image: side of a crop [px]."""
    return make_config(
        task="segment",
        dataset="ade20k",
        data_root="ADEChallengeData2016",
        backbone=classifier.model.backbone,
        img_size=image,
        patch_size=classifier.model.patch_size,
        num_classes=150,
        ignore_index=0,
        epochs=127,  # of 20,210 images in 160,000 iterations; max_steps decides
        max_steps=160_000,
        global_batch_size=16,
        augment="resize_crop_photometric",
        lr=5e-5,
        weight_decay=0.01,
        warmup_steps=1500,
        lr_schedule="linear",
        drop_path=classifier.model.drop_path,
        max_grad_norm=None,
        val_interval=13,
        init=FromRun(config=classifier),
    )
