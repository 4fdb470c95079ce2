"""Recipes on CIFAR-10 (Krizhevsky 2009): real images of 32 px, as train.tar and test.tar or as class folders."""

from experiments.recipes.variants import flexible, sizes_of
from experiments.stages import linked
from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig


def deit_nano(patch: int) -> ExperimentConfig:
    """DeiT of width 48, 3 blocks, 32 px: three epochs over 10,000 images of CIFAR-10, tested on 2,000.
    Run: python experiments/run.py cifar10.deit_nano --patch 4 --data-root /data/cifar10.
    Expected test loss [nats] at patch 16, 8, 4, 2, 1: 1.79, 1.72, 1.62, 1.53, 1.64. All five patch sizes of both
    backbones take about half an hour on two cores (docs/results/cifar10.md)."""
    return make_config(
        dataset="cifar10",
        data_root="cifar10",
        backbone="deit_nano",
        img_size=32,
        patch_size=patch,
        num_classes=10,
        epochs=3,
        global_batch_size=32,
        num_train=10_000,
        num_val=2_000,
        augment="flip",
        lr=2e-3,
        warmup_epochs=0.5,
        pos_embed="sincos",
    )


def adventurer_nano(patch: int) -> ExperimentConfig:
    """Adventurer of width 48, 3 blocks; all else as deit_nano.
    Run: python experiments/run.py cifar10.adventurer_nano --patch 4 --data-root /data/cifar10.
    Expected test loss [nats] at patch 16, 8, 4, 2, 1: 1.53, 1.57, 1.50, 1.45, 1.51."""
    return edit(deit_nano(patch), backbone="adventurer_nano")


def deit_nano_full(patch: int) -> ExperimentConfig:
    """DeiT-nano on all 50,000 training images: five passes, a batch of 64, shifts and flips; tested on all 10,000.
    Eight times the images of deit_nano, for the law of CIFAR-10; deit_nano is the quick one. The rate is that with the
    lowest loss of held-out training images in the mean over patches 16, 8 and 4 (docs/results/cifar10.md).
    Run: python experiments/run.py cifar10.deit_nano_full --patch 4 --data-root /data/cifar10.
    Expected test loss [nats] at patch 16, 8, 4, 2: 1.563, 1.459, 1.201, 1.126 (means of three seeds); at 1: 1.288."""
    return edit(
        deit_nano(patch),
        epochs=5,
        global_batch_size=64,
        num_train=None,
        num_val=None,
        augment="pad_crop_flip",
        lr=4e-3,
    )


def adventurer_nano_full(patch: int) -> ExperimentConfig:
    """Adventurer-nano; all else as deit_nano_full.
    Run: python experiments/run.py cifar10.adventurer_nano_full --patch 4 --data-root /data/cifar10."""
    return edit(deit_nano_full(patch), backbone="adventurer_nano")


def adventurer_stages(patch: int, image: int = 64) -> list[ExperimentConfig]:
    """The three stages of imagenet.adventurer_base in small: adventurer_nano, pretrained at half the image size, then
    trained and finetuned at the full size (32 px enlarged to 64), with learned positions that are resampled in between.
    Run: python experiments/run.py cifar10.adventurer_stages --patch 8 --data-root /data/cifar10.
    Expected test loss [nats] at patch 8 and 4: 1.73 and 1.63. Both take about a quarter of an hour on two cores
    (docs/results/cifar10.md)."""
    first = edit(
        adventurer_nano(patch),
        stage="pretrain",
        img_size=image // 2,
        pos_embed="learned",
        augment="three_augment_simple",
        epochs=6,
        global_batch_size=64,
        lr=2e-3,
        lr_base_size=64,
        warmup_epochs=1.0,
        drop_path=0.05,
        aug_repeats=2,
        mixup=0.2,
        model_ema_decay=0.995,
    )
    middle = edit(first, stage="intermediate", img_size=image, epochs=2, lr=1e-3, warmup_epochs=0.2, layer_decay=0.9)
    last = edit(
        middle,
        stage="finetune",
        augment="resized_crop",
        auto_augment="rand-m5-mstd0.5-inc1",
        mixup=0.0,
        aug_repeats=1,
        smoothing=0.1,
        epochs=1,
        lr=1e-4,
        lr_base_size=None,
        layer_decay=0.95,
    )
    return linked([first, middle, last])


def flexi_deit_nano(patch: int) -> ExperimentConfig:
    """deit_nano with one set of weights for patches 16 to `patch`, each drawn equally often; all else as there.
    Run: python experiments/run.py cifar10.flexi_deit_nano --patch 2 --data-root /data/cifar10."""
    return flexible(deit_nano(patch))


def flexi_adventurer_nano(patch: int) -> ExperimentConfig:
    """adventurer_nano with one set of weights for patches 16 to `patch`; as flexi_deit_nano.
    Run: python experiments/run.py cifar10.flexi_adventurer_nano --patch 2 --data-root /data/cifar10."""
    return edit(flexi_deit_nano(patch), backbone="adventurer_nano")


def navit_deit_nano(patch: int) -> ExperimentConfig:
    """deit_nano with images reduced to 16 to 32 px; evaluated at 32, 24 and 16 px. All else, the number of
    images too, is as there.
    Run: python experiments/run.py cifar10.navit_deit_nano --patch 4 --data-root /data/cifar10."""
    return edit(deit_nano(patch), packing="sequences", image_sizes="16-32", eval_img_sizes=sizes_of(patch, (16, 24)))


def navit_adventurer_nano(patch: int) -> ExperimentConfig:
    """navit_deit_nano with Adventurer.
    Run: python experiments/run.py cifar10.navit_adventurer_nano --patch 4 --data-root /data/cifar10."""
    return edit(navit_deit_nano(patch), backbone="adventurer_nano")
