"""Recipes on ImageNet-1k (train/ and val/ with one folder per class), as in arXiv 2502.03738.

Every recipe takes any patch size and image size: python experiments/run.py imagenet.deit_base --img-size 128
--patch 8 --data-root /data/imagenet. Expected top-1 [%] is that of the paper (Tables 1 and 4), at patch 16, 8, 4, 2, 1
unless stated otherwise. GPU-hours are hours of one A100 for all epochs at 224 px at these patch sizes: the hours per
epoch of the paper's Table 6 (Base), and for other sizes and stages these times the ratio of FLOPs by scaling/costs.

Adventurer is trained in stages (Tables 8 to 10), each a run with its own record that starts from the one before:
64 px     pretrain at 64
128 px    pretrain at 128, finetune at 128
224 px    pretrain at 128, intermediate at 224, finetune at 224
Values that the paper does not print are those of its release (github.com/wangf3014/Adventurer, main.py), whose defaults
are those of DeiT: mixup 0.8, CutMix 1.0 and an average of the weights at 0.99996 in every stage, a cosine that ends at
a rate of 1e-5. Finetuning at 1e-5 (Small, Base) therefore has a constant rate after its warm-up. docs/recipes.md
compares every value as printed, as released and as used here.

Departs, in every recipe: warm-up from 0 and cosine are updated at every step (released: from 1e-6, by epochs); test
images are cropped at 1.0 of their side for every patch size (released: 0.875 by default). Tiny has no column in Tables
9 and 10: it uses Small's stages, with Table 8's drop path throughout. At 64 px all sizes have 300 epochs, as in the
text of the appendix; its Table 8 prints 200 for Large and Huge at both sizes.
"""

from experiments.stages import linked
from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig

LARGE = ("adventurer_large", "adventurer_huge")
MIN_LR = 1e-5  # default of --min-lr in DeiT's code and in the release, which no published command sets
BATCH = 512  # images that the learning rates of Tables 8 and 9 refer to; the released code scales by batch / 512


def deit_tiny(patch: int, image: int = 224) -> ExperimentConfig:
    """DeiT-Tiny: 300 epochs, batch 1024, 1e-3, weight decay 0.05 (arXiv 2012.12877, Table 9). Expected at 224 px:
    72.2 at patch 16 (same paper, Table 5). GPU-hours: 8, 50, 407, 4,795, 68,019.
    Run: python experiments/run.py imagenet.deit_tiny --patch 16 --data-root /data/imagenet."""
    return make_config(
        dataset="imagenet",
        data_root="imagenet",
        backbone="deit_tiny",
        img_size=image,
        patch_size=patch,
        num_classes=1000,
        epochs=300,
        global_batch_size=1024,
        augment="resized_crop",
        auto_augment="rand-m9-mstd0.5-inc1",
        random_erasing_prob=0.25,
        mixup=0.8,
        cutmix=1.0,
        aug_repeats=3,
        on_bad_image="skip",
        lr=5e-4,
        lr_base_size=BATCH,
        min_lr=MIN_LR,
        weight_decay=0.05,
        warmup_epochs=5.0,
        max_grad_norm=None,
        smoothing=0.1,
        drop_path=0.1,
        model_ema_decay=0.99996,
        val_interval=10,
    )


def deit_small(patch: int, image: int = 224) -> ExperimentConfig:
    """DeiT-Small, all else as deit_tiny. Expected at 224 px: 79.8 at patch 16 (arXiv 2012.12877, Table 5).
    GPU-hours: 28, 160, 1,032, 10,396, 139,092.
    Run: python experiments/run.py imagenet.deit_small --patch 16 --data-root /data/imagenet."""
    return edit(deit_tiny(patch, image), backbone="deit_small")


def deit_base(patch: int, image: int = 224) -> ExperimentConfig:
    """DeiT-Base, all else as deit_tiny (Table 1 of arXiv 2502.03738). Expected at 64 px: 68.2, 76.9, 80.1, 80.8, 81.3;
    at 128 px: 78.1, 81.0, 82.3, 82.9 (to patch 2); at 224 px: 81.8 at patch 16 (arXiv 2012.12877), 83.5 at patch 8
    (section 1 of arXiv 2502.03738). GPU-hours: 108, 558,
    2,937, 24,018, 290,397.
    Run: python experiments/run.py imagenet.deit_base --img-size 128 --patch 8 --data-root DIR."""
    return edit(deit_tiny(patch, image), backbone="deit_base")


def deit_large(patch: int, image: int = 224) -> ExperimentConfig:
    """DeiT-Large by the supervised recipe of MAE (arXiv 2111.06377, appendix, "supervised training from scratch"): 200
    epochs, batch 4096, 1e-4 at 256, weight decay 0.3, beta2 0.95, 20 epochs of warm-up, drop path 0.2; reported are the
    averaged weights (0.9999). Expected at 224 px: 82.6 at patch 16 (same paper). GPU-hours: 252, 1,273, 6,256, 46,521,
    530,735. Run: python experiments/run.py imagenet.deit_large --patch 16 --data-root /data/imagenet."""
    return edit(
        deit_tiny(patch, image),
        backbone="deit_large",
        epochs=200,
        global_batch_size=4096,
        lr=1e-4,
        lr_base_size=256,
        min_lr=0.0,  # MAE's appendix states a cosine without a final rate
        weight_decay=0.3,
        beta2=0.95,
        warmup_epochs=20.0,
        random_erasing_prob=0.0,
        aug_repeats=1,
        drop_path=0.2,
        model_ema_decay=0.9999,
        eval_weights="ema",
    )


def deit_huge(patch: int, image: int = 224) -> ExperimentConfig:
    """DeiT-Huge, all else as deit_large. Expected at 224 px: 83.1 at patch 14 (arXiv 2111.06377). GPU-hours: 522,
    2,592, 12,152, 83,908, 908,682.
    Run: python experiments/run.py imagenet.deit_huge --patch 14 --data-root /data/imagenet."""
    return edit(deit_large(patch, image), backbone="deit_huge")


def navit_small(patch: int = 16, image: int = 224) -> ExperimentConfig:
    """DeiT-Small on images of mixed sizes that keep their aspect ratio (NaViT, arXiv 2307.06304): the square root of
    the area is drawn from U(64, 256) at patch 16, as printed there; evaluated at 224 px and at 64 to 384 px. Epochs,
    batch, rates and regularisation as deit_small. Expected: unknown, the paper's models are trained on JFT-4B.
    Run: python experiments/run.py imagenet.navit_small --patch 16 --data-root /data/imagenet.

    Departs: from the paper by its data, 4,000 rows of 256 tokens a step, cross-entropy instead of a sigmoid loss, a
    class token instead of attention pooling, and rows of up to 8,192 tokens, as images do not attend to each other and
    longer rows have less padding. From deit_small by flips alone as augmentation: crops to a square, Mixup, CutMix and
    random erasing are for images of one size."""
    return edit(
        deit_small(patch, image),
        packing="sequences",
        image_sizes="64-256",
        eval_img_sizes=tuple(size for size in (64, 128, 256, 384) if size % patch == 0),
        augment="flip",
        auto_augment=None,
        random_erasing_prob=0.0,
        mixup=0.0,
        cutmix=0.0,
        pos_embed="sincos",
    )


def navit_base(patch: int = 16, image: int = 224) -> ExperimentConfig:
    """navit_small with DeiT-Base.
    Run: python experiments/run.py imagenet.navit_base --patch 16 --data-root /data/imagenet."""
    return edit(navit_small(patch, image), backbone="deit_base")


def adventurer_tiny(patch: int, image: int = 224) -> list[ExperimentConfig]:
    """Adventurer-Tiny in stages. Expected at 128 px: 72.6, 78.5, 80.4, 80.6, 80.7; at 224 px: 78.2, 80.9, 81.3, 81.7,
    81.9 (Table 4). GPU-hours of all stages: 12, 47, 182, 729, 3,054.
    Run: python experiments/run.py imagenet.adventurer_tiny --patch 16 --data-root /data/imagenet.

    Departs: Tables 9 and 10 have no Tiny; its later stages are Small's, with the drop path of Table 8."""
    return _stages("adventurer_tiny", patch, image, drop_path=(0.1, 0.1))


def adventurer_small(patch: int, image: int = 224) -> list[ExperimentConfig]:
    """Adventurer-Small in stages (Tables 8 to 10). Expected at 128 px: 77.6, 80.5, 80.9, 81.2, 81.4; at 224 px: 81.8,
    83.0, 83.5, 83.7, 83.8 (Table 4). GPU-hours of all stages: 45, 175, 681, 2,723, 11,415.
    Run: python experiments/run.py imagenet.adventurer_small --img-size 224 --patch 8 --data-root /data/imagenet."""
    return _stages("adventurer_small", patch, image, drop_path=(0.2, 0.4))


def adventurer_base(patch: int, image: int = 224) -> list[ExperimentConfig]:
    """Adventurer-Base in stages (Tables 8 to 10). Expected at 64 px: 69.2, 77.2, 80.0, 80.5, 80.9 (Table 1); at 128 px:
    79.0, 81.5, 81.8, 82.2, 82.4; at 224 px: 82.6, 83.9, 84.3, 84.5, 84.6 (Table 4). GPU-hours of all stages: 99, 384,
    1,496, 5,984, 25,083.
    Run: python experiments/run.py imagenet.adventurer_base --img-size 224 --patch 8 --data-root /data/imagenet."""
    return _stages("adventurer_base", patch, image, drop_path=(0.4, 0.6))


def adventurer_large(patch: int, image: int = 224) -> list[ExperimentConfig]:
    """Adventurer-Large in stages (Tables 8 to 10). Expected at 128 px: 79.8, 82.2, 82.6, 82.9, 83.1 (Table 4).
    GPU-hours of all stages: 262, 1,023, 3,984, 15,942, 66,832.
    Run: python experiments/run.py imagenet.adventurer_large --img-size 128 --patch 8 --data-root /data/imagenet."""
    return _stages("adventurer_large", patch, image, drop_path=(0.4, 0.6))


def adventurer_huge(patch: int, image: int = 224) -> list[ExperimentConfig]:
    """Adventurer-Huge: the pretraining of Large and Huge (Table 8), then the stages that the tables print for Large
    only. No accuracy is published. GPU-hours of all stages: 541, 2,115, 8,240, 32,971, 138,224.
    Run: python experiments/run.py imagenet.adventurer_huge --img-size 128 --patch 8 --data-root /data/imagenet."""
    return _stages("adventurer_huge", patch, image, drop_path=(0.4, 0.6))


def flexivit_small(patch: int, image: int = 240) -> ExperimentConfig:
    """FlexiViT-Small by distillation of DeiT III (arXiv 2212.08013; big_vision, configs/proj/flexivit/i1k_deit3_distill
    at 0127fb6): one set of weights for all patches from 48 to `patch` px that divide the image, ten of them from patch
    8 at 240 px, each drawn equally often. The student starts from its teacher, DeiT III at patch 16 and 384 px, which
    sees the same crop, flip and mixture of two images. Kernel of 32 px and 7 x 7 positions, as in the paper. 90 epochs;
    released are 300, 600 and 1200 (--epochs). Expected at 240 px, patch 16, as timm measured the released weights:
    82.2, 82.4, 82.6 after 300, 600, 1200 epochs. GPU-hours of 90 epochs, without the teacher's: 22.
    Run: python experiments/run.py imagenet.flexivit_small --patch 8 --data-root /data/imagenet.

    Departs: the released configuration keeps the teacher's kernel of 16 px, and its Adam a mean of gradients in
    bfloat16; its weight decay of 1e-5 a step is 0.1 here, where it is multiplied by the rate. Crops take 8 to 100 % of
    an image (released: 5 to 100 %). Pixels have ImageNet's mean and deviation (released: 0.5), which timm's teacher
    expects. Kernels are resized with antialiasing (released: without; --antialias false). DeiT III's scales of
    residual branches are weights of their own (released: folded into the others)."""
    return edit(
        deit_tiny(patch, image),
        backbone="deit3_small",
        patch_embed="flexible",
        kernel_size=32,
        pos_embed="grid",
        grid_size=7,
        step_shapes="random_patch",
        teacher="timm:deit3_small_patch16_384.fb_in1k",
        objectives="distillation",
        init="teacher",
        epochs=90,
        auto_augment=None,
        random_erasing_prob=0.0,
        mixup=1.0,
        cutmix=0.0,
        aug_repeats=1,
        smoothing=0.0,
        drop_path=0.0,
        lr=1e-4,
        lr_base_size=None,
        min_lr=0.0,
        weight_decay=0.1,
        warmup_steps=5000,
        max_grad_norm=1.0,
        model_ema_decay=None,
        val_split=0.01,
        crop_pct=image / (image // 7 * 8),  # test images are resized to 8/7 of a multiple of 7 px, then cropped
    )


def flexivit_base(patch: int, image: int = 240) -> ExperimentConfig:
    """FlexiViT-Base by distillation of DeiT III-Base; all else as flexivit_small. Expected at 240 px, patch 16, as timm
    measured the released weights: 84.4, 84.6, 84.7 after 300, 600, 1200 epochs. GPU-hours: 65.
    Run: python experiments/run.py imagenet.flexivit_base --patch 8 --data-root /data/imagenet."""
    return edit(flexivit_small(patch, image), backbone="deit3_base", teacher="timm:deit3_base_patch16_384.fb_in1k")


def _pretraining(backbone: str, patch: int, image: int) -> ExperimentConfig:
    """Table 8, at any image size: one column for Tiny, Small and Base, one for Large and Huge."""
    large = backbone in LARGE
    return edit(
        deit_tiny(patch, image),
        backbone=backbone,
        stage="pretrain",
        augment="three_augment",
        auto_augment=None,
        random_erasing_prob=0.0,
        smoothing=0.0,
        epochs=200 if large and image > 64 else 300,
        global_batch_size=4096 if large else 1024,
        lr=2e-4 if large else 5e-4,
        weight_decay=0.3 if large else 0.05,
        beta2=0.95 if large else 0.999,
        warmup_epochs=20.0 if large else 5.0,
        drop_path=0.2 if large else 0.1,
    )


def _stages(backbone: str, patch: int, image: int, drop_path: tuple[float, float]) -> list[ExperimentConfig]:
    """drop_path: of the intermediate stage and of finetuning. Only Large and Huge have layer-wise decay: Tables 9 and
    10 print one value and one cross, and the released commands of the smaller sizes set none."""
    large = backbone in LARGE
    first = _pretraining(backbone, patch, min(image, 128))
    if image <= 64:
        return [first]
    middle = edit(
        first,
        stage="intermediate",
        img_size=image,
        epochs=50 if large else 100,
        lr=8e-4 if large else 5e-4,
        layer_decay=0.9 if large else 1.0,
        drop_path=drop_path[0],
    )
    last = edit(
        first,
        stage="finetune",
        img_size=image,
        augment="resized_crop",
        auto_augment="rand-m9-mstd0.5-inc1",
        aug_repeats=1,
        smoothing=0.1,
        epochs=50 if large else 20,
        global_batch_size=512,
        lr=2e-5 if large else 1e-5,
        lr_base_size=None,  # the release does not scale it here (--unscale-lr)
        weight_decay=0.1,
        warmup_epochs=5.0,
        layer_decay=0.95 if large else 1.0,
        drop_path=drop_path[1],
    )
    return linked([first, middle, last] if image > 128 else [first, last])
