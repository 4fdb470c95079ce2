"""Studies as sweeps by name: the ablations of arXiv 2502.03738, and the questions of the files beside this one.
python experiments/sweep.py table5, shapes.table5, ...

A study is a function that returns the recipes of all its runs, every stage of a chain among them. Those without a data
set in their name are on ImageNet (figure2 on ADE20K), at the paper's sizes; shapes., cifar10. and camvid. are the same
questions on a CPU. A sweep of a study ends with its table and figure in results/analysis
(analysis/studies/study_report.py) instead of the laws.

GPU-hours are hours of one A100, as experiments/recipes/imagenet.py counts them. CPU times are of two cores.
"""

from collections.abc import Callable, Sequence
from types import ModuleType

from experiments.recipes import ade20k, camvid, cifar10, imagenet, shapes
from experiments.stages import Function, chain_of, linked
from experiments.studies.adaptive import against_uniform
from experiments.studies.curricula import curricula, growing_crops, position_changes
from experiments.studies.embeddings import each_embedding, each_init
from experiments.studies.flexivit import at_all_patches
from experiments.studies.learning_rates import at_rates
from experiments.studies.mixed_sizes import at_mixed_sizes
from experiments.studies.positions import at_other_sizes, at_patches
from experiments.studies.stability import at_wide_rates, in_each_setting
from experiments.studies.token_drop import with_dropped_tokens
from experiments.studies.transfer import to_other_images, to_other_patches
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.config.task import SEGMENTATION_HEADS

Study = Callable[..., list[ExperimentConfig]]


def table5() -> list[ExperimentConfig]:
    """Is it the longer sequence that helps, or the pixels in it? Table 5: DeiT-Base at 128 px with 64, 256 and 1024
    tokens and Adventurer-Base at 224 px with 196 to 12,544, by scaling (smaller patches) and by extending (embedded at
    16 px, the tokens interpolated to as many). At patch 16 both are one run. In chains every stage is extended.
    Run: python experiments/sweep.py table5 --data-root /data/imagenet.
    Expected top-1 [%]: DeiT-Base 78.1, 81.0, 82.3 by scaling and 78.1, 78.2, 78.2 by extending; Adventurer-Base 82.6,
    83.9, 84.3, 84.5 and 82.6, 82.7, 82.8, 82.8. About 17,600 GPU-hours; --patch 16,8 is 1,200 of them."""
    return [
        *_lengths(lambda patch: imagenet.deit_base(patch, image=128), (16, 8, 4), extend=16),
        *_lengths(lambda patch: imagenet.adventurer_base(patch, image=224), (16, 8, 4, 2), extend=16),
    ]


def shapes_table5() -> list[ExperimentConfig]:
    """table5 in small: both nano backbones on shapes of 16 px, patches 8, 4, 2; extended from 8 px.
    Run: python experiments/sweep.py shapes.table5. 10 runs, about 3 minutes."""
    return _both(shapes, lambda recipe: _lengths(recipe, (8, 4, 2), extend=8))


def cifar10_table5() -> list[ExperimentConfig]:
    """table5 in small: both nano backbones on CIFAR-10, patches 16, 8, 4; extended from 16 px.
    Run: python experiments/sweep.py cifar10.table5 --data-root /data/cifar10. 10 runs, about 5 minutes."""
    return _both(cifar10, lambda recipe: _lengths(recipe, (16, 8, 4), extend=16))


def figure2() -> list[ExperimentConfig]:
    """Does a decoder still help where patches are small? Figure 2 and Table 2, the vanishing decoder: Adventurer-Tiny
    and Base on ADE20K with UperNet and with a linear head, patches 16, 8, 4, 2. Each begins with the weights of its
    backbone's run imagenet.NAME at 224 px and the same patch, which is no run of this study: do it first, or use
    other weights (--initial-checkpoint FILE) or none (--init scratch).
    Run: python experiments/sweep.py figure2 --data-root /data/ADEChallengeData2016.
    Expected mIoU [%] at these patches (Table 2): Tiny 40.0, 41.6, 42.1, 42.5 by the linear head and 41.3 at patch 16 by
    UperNet; Base 44.0, 45.5, 46.3, 46.8 and 45.7 at patch 16. About 870 GPU-hours; --patch 16,8 is 60 of them. The runs
    on ImageNet take 8,900."""
    return _heads((ade20k.adventurer_tiny, ade20k.adventurer_base), (16, 8, 4, 2))


def shapes_figure2() -> list[ExperimentConfig]:
    """figure2 in small: Adventurer-nano with both heads on shapes of 32 px, patches 16, 8, 4, 2, from scratch.
    Run: python experiments/sweep.py shapes.figure2. 8 runs, about 7 minutes."""
    return _heads((shapes.seg_nano,), (16, 8, 4, 2))


def camvid_figure2() -> list[ExperimentConfig]:
    """figure2 in small: Adventurer-nano with both heads on CamVid, patches 16, 8, 4, from scratch.
    Run: python experiments/sweep.py camvid.figure2 --data-root /data/camvid. 6 runs, more than an hour."""
    return _heads((camvid.adventurer_nano,), (16, 8, 4))


def figure3(image: int = 128) -> list[ExperimentConfig]:
    """Grow the model or shrink the patch? Figure 3, of the runs of Table 4: Adventurer-Tiny, Small, Base and Large at
    128 px, patches 16, 8, 4, 2, 1, test loss against FLOPs. Half the patch is four times the FLOPs, about as much as
    from one size to the next. --img-size 224 has Table 4's lower half, and Large, which it leaves out.
    Run: python experiments/sweep.py figure3 --data-root /data/imagenet. Expected top-1 [%] at these patches: Tiny 72.6,
    78.5, 80.4, 80.6, 80.7; Small 77.6, 80.5, 80.9, 81.2, 81.4; Base 79.0, 81.5, 81.8, 82.2, 82.4; Large 79.8, 82.2,
    82.6, 82.9, 83.1 (Table 4). About 68,000 GPU-hours; --patch 16,8,4 is 4,100 of them."""
    sizes = (imagenet.adventurer_tiny, imagenet.adventurer_small, imagenet.adventurer_base, imagenet.adventurer_large)
    return [stage for patch in (16, 8, 4, 2, 1) for recipe in sizes for stage in recipe(patch, image)]


def shapes_figure3() -> list[ExperimentConfig]:
    """figure3 in small: pico, nano and micro of both backbones on shapes of 16 px, patches 16, 8, 4, and 2 for pico.
    Run: python experiments/sweep.py shapes.figure3. 20 runs, about 4 minutes."""
    return _both(shapes, _sizes)


def cifar10_figure3() -> list[ExperimentConfig]:
    """figure3 in small: pico, nano and micro of both backbones on CIFAR-10, patches 16, 8, 4, and 2 for pico.
    Run: python experiments/sweep.py cifar10.figure3 --data-root /data/cifar10. 20 runs, about 10 minutes."""
    return _both(cifar10, _sizes)


def figure4() -> list[ExperimentConfig]:
    """Does a larger image help where the number of tokens stays? Figure 4: image over patch is held, so a patch holds
    more pixels as the image grows. DeiT-Base and Adventurer-Base with 256 tokens (64 px at patch 4, 128 at 8, 224 at
    14) and with 1024 (64 at 2, 128 at 4, 224 at 7).
    Run: python experiments/sweep.py figure4 --data-root /data/imagenet. Expected top-1 [%], where Table 1 has it: DeiT
    80.1 and 81.0 with 256 tokens at 64 and 128 px, 80.8 and 82.3 with 1024; Adventurer 80.0 and 80.5 at 64 px. About
    5,100 GPU-hours.

    Departs: Adventurer has the pretraining of Table 8 at each image size and no later stage. The chain of 224 px begins
    at 128 px, which patches of 14 and 7 px do not tile, and a line whose points went through one, two and three stages
    would show the stages. So its runs at 128 px are not those of Table 1."""
    sides = ((64, 4), (128, 8), (224, 14), (64, 2), (128, 4), (224, 7))
    pretrained = [edit(imagenet.adventurer_base(16, 64)[0], img_size=image, patch_size=patch) for image, patch in sides]
    return [*(imagenet.deit_base(patch, image) for image, patch in sides), *pretrained]


def shapes_figure4() -> list[ExperimentConfig]:
    """figure4 in small: both nano backbones on shapes of 16, 32 and 64 px, 16 and 64 tokens. 16 px are the smallest
    that shapes are drawn at. Outlines grow with the image, the cells of a texture stay 2 px: there are more of them.
    Run: python experiments/sweep.py shapes.figure4. 12 runs, about 4 minutes."""
    return _both(shapes, lambda recipe: [*_enlarged(recipe, (16, 32, 64), 4), *_enlarged(recipe, (16, 32, 64), 8)])


def cifar10_figure4() -> list[ExperimentConfig]:
    """figure4 in small: both nano backbones on CIFAR-10 at 16, 32 and 64 px, 64 tokens. Its images have 32 px: at 16
    some of them are lost, at 64 none are gained.
    Run: python experiments/sweep.py cifar10.figure4 --data-root /data/cifar10. 6 runs, about 5 minutes."""
    return _both(cifar10, lambda recipe: _enlarged(recipe, (16, 32, 64), 8))


def shapes_learning_rate() -> list[ExperimentConfig]:
    """Does the best learning rate depend on the patch size? Both nano backbones on shapes at patches 16, 8, 4, 2, each
    at a quarter to four times the recipe's rate.
    Run: python experiments/sweep.py shapes.learning_rate --seeds 0,1,2. 40 runs a seed."""
    return _both(shapes, at_rates)


def cifar10_learning_rate() -> list[ExperimentConfig]:
    """shapes.learning_rate on CIFAR-10. --epochs and --num-train make its runs longer.
    Run: python experiments/sweep.py cifar10.learning_rate --data-root /data/cifar10 --seeds 0,1,2. 40 runs a seed;
    --patch 8,4 are 20."""
    return _both(cifar10, at_rates)


def shapes_curricula() -> list[ExperimentConfig]:
    """Is it better to train on large patches first, or on small ones, at equal FLOPs and at equal images? Both nano
    backbones on shapes: patch 2 alone, and patches 16 to 2 in stretches from large to small, from small to large and in
    four cycles, by a ramp, and drawn at random for a step or for an image; halves that end at patch 2 and begin at 4 or
    at 1; small images first. All have the training FLOPs of patch 2 on 16,384 images; patch 2 alone also twice that, to
    compare at equal seconds, and on as many images as the stretches. The rule is E3 of docs/claims.md.
    Run: python experiments/sweep.py shapes.curricula --seeds 0,1,2. 26 runs a seed.
    Expected (written before the runs): halves from 4 px have a lower loss at 2 px than halves from 1 px, which see a
    sixth of the images; of the stretches and their reverse each is better at the patches that it ends with; random
    draws of the same shares lie between them; no spike above 0.02 nats lasts more than 32 steps."""
    return _both(shapes, lambda recipe: curricula(recipe, (16, 8, 4, 2), "16@0.3,8@0.6,4@0.85,2@1"))


def cifar10_curricula() -> list[ExperimentConfig]:
    """shapes.curricula on CIFAR-10, patches 16, 8, 4 and the FLOPs of patch 4 on 30,000 images; halves that end at
    patch 4 and begin at 8 or at 2.
    Run: python experiments/sweep.py cifar10.curricula --data-root /data/cifar10 --seeds 0,1,2. 24 runs a seed;
    --backbone deit_nano are 12."""
    return _both(cifar10, lambda recipe: curricula(recipe, (16, 8, 4), "16@0.3,8@0.6,4@1"))


def shapes_growing_crops() -> list[ExperimentConfig]:
    """Do crops that grow in training (PGPS, arXiv 2407.07853) save time, and at what price? Segmentation of shapes of
    32 px by Adventurer-nano at patch 4: whole images; crops of 0.5, 0.75 and 1 of the side in this order, in reverse,
    drawn at random, and of 0.75 alone, with equal training FLOPs; as many whole images as growing crops. The rule is
    E10 of docs/claims.md.
    Run: python experiments/sweep.py shapes.growing_crops --seeds 0,1,2,3,4. 6 runs a seed.
    Expected (written before the runs): at equal images fewer seconds, and an mIoU within 1 point of whole images; at
    equal FLOPs growing crops are better than shrinking ones, which end at a size that evaluations do not have."""
    return growing_crops(shapes.seg_nano(4), "0.5@0.3,0.75@0.3,1@0.4")


def shapes_position_changes() -> list[ExperimentConfig]:
    """Does a change of positions during training cause a spike? Both nano backbones on shapes, from patch 8 to 4 and
    from 4 to 8 half-way: without positions, with sine-cosine ones, which the change leaves where they are in the image,
    with learned ones, which are interpolated, and with sines of the raster order, which are all others afterwards. The
    rule is E4 of docs/claims.md.
    Run: python experiments/sweep.py shapes.position_changes --seeds 0,1,2,3,4. 16 runs a seed.
    Expected (written before the runs): the gap at the change is larger with the raster order than without positions;
    the rise after it is not, as far as five seeds show."""
    return _both(shapes, lambda recipe: position_changes(recipe, 8, 4))


def shapes_flexivit() -> list[ExperimentConfig]:
    """What does a model per patch size have that one flexible model has not, and how far does a fixed model carry?
    Both nano backbones on shapes at patches 16, 8, 4, 2: one flexible model, a model per patch size, and each of these
    at all other patch sizes, its kernel resized in four ways (runs of no epochs).
    Run: python experiments/sweep.py shapes.flexivit --seeds 0,1,2. 42 runs a seed, 10 of which train."""
    return [
        *at_all_patches(shapes.deit_nano, shapes.flexi_deit_nano),
        *at_all_patches(shapes.adventurer_nano, shapes.flexi_adventurer_nano),
    ]


def cifar10_flexivit() -> list[ExperimentConfig]:
    """shapes.flexivit on CIFAR-10, at the same patch sizes of 32 px.
    Run: python experiments/sweep.py cifar10.flexivit --data-root /data/cifar10 --seeds 0,1,2. 42 runs a seed, 10 of
    which train."""
    return [
        *at_all_patches(cifar10.deit_nano, cifar10.flexi_deit_nano),
        *at_all_patches(cifar10.adventurer_nano, cifar10.flexi_adventurer_nano),
    ]


def shapes_transfer() -> list[ExperimentConfig]:
    """Which rule brings positions to another grid best, at once and after 100 steps of finetuning? Both nano backbones
    on shapes of 32 px at patch 8 with learned, sine, rotary and, in DeiT, relative positions; evaluated at 16, 64 and
    96 px by every rule of the encoding, beside models trained at these sizes. Outlines grow with the image, the cells
    of a texture do not: a patch holds alike pixels at every size.
    Run: python experiments/sweep.py shapes.transfer --seeds 0,1,2. 148 runs a seed, 32 of which train from scratch;
    --backbone deit_nano are 86, --pos-embed rope of them 26."""
    return _both(shapes, lambda recipe: to_other_images(recipe, 8, 32))


def cifar10_transfer() -> list[ExperimentConfig]:
    """shapes.transfer on CIFAR-10, whose images are enlarged and reduced: a patch holds less at a larger size.
    Run: python experiments/sweep.py cifar10.transfer --data-root /data/cifar10 --seeds 0,1,2. 148 runs a seed."""
    return _both(cifar10, lambda recipe: to_other_images(recipe, 8, 32))


def shapes_patch_transfer() -> list[ExperimentConfig]:
    """How many steps of finetuning does another patch size need? Both nano backbones on shapes at patch 4, brought to
    patches 2 and 8 with a kernel resized by its pseudo-inverse or like an image, and finetuned for 0 to 1,000 steps,
    beside models trained there, of 512 steps.
    Run: python experiments/sweep.py shapes.patch_transfer --seeds 0,1,2. 189 runs a seed, 21 of which train from
    scratch; --backbone deit_nano are 108, --patch 2 half of them."""
    return _both(shapes, lambda recipe: to_other_patches(recipe, 4))


def cifar10_patch_transfer() -> list[ExperimentConfig]:
    """shapes.patch_transfer on CIFAR-10, from patch 8 to patches 4 and 16.
    Run: python experiments/sweep.py cifar10.patch_transfer --data-root /data/cifar10 --seeds 0,1,2. 189 runs a seed."""
    return _both(cifar10, lambda recipe: to_other_patches(recipe, 8))


def shapes_position_laws() -> list[ExperimentConfig]:
    """Does the exponent over patch sizes depend on the position encoding? Both nano backbones on shapes at patches 16
    to 1 without positions, with sine, learned and rotary and, in DeiT, relative ones.
    Run: python experiments/sweep.py shapes.position_laws --seeds 0,1,2,3,4. 65 runs a seed; --patch 16,8,4,2 are 52."""
    return _both(shapes, lambda recipe: at_patches(recipe, (16, 8, 4, 2, 1)))


def cifar10_position_laws() -> list[ExperimentConfig]:
    """shapes.position_laws on CIFAR-10, at patches 16 to 2.
    Run: python experiments/sweep.py cifar10.position_laws --data-root /data/cifar10 --seeds 0,1,2. 52 runs a seed."""
    return _both(cifar10, lambda recipe: at_patches(recipe, (16, 8, 4, 2)))


def shapes_token_drop() -> list[ExperimentConfig]:
    """Does training on a part of each image's tokens help? Both nano backbones on shapes at patch 2, without dropping
    and with a constant rate, Beta rates of three means, rates that rise or fall over the run, and rates by resolution
    on images of 8 to 16 px; each on as many images and with as many training FLOPs.
    Run: python experiments/sweep.py shapes.token_drop --seeds 0,1,2. 36 runs a seed; --backbone deit_nano are 18."""
    return _both(shapes, lambda recipe: with_dropped_tokens(recipe, 2))


def shapes_navit() -> list[ExperimentConfig]:
    """Do mixed image sizes help, at equally many images and at equal FLOPs? Both nano backbones on shapes at patch 2,
    trained at 16, 12 and 8 px and at sizes from 8 to 16 px, and evaluated at 16, 12 and 8 px. A reduced image loses the
    cells that are then smaller than a pixel.
    Run: python experiments/sweep.py shapes.navit --seeds 0,1,2. 12 runs a seed; --backbone deit_nano are 6."""
    return _both(shapes, lambda recipe: at_mixed_sizes(recipe, 2))


def cifar10_navit() -> list[ExperimentConfig]:
    """shapes.navit on CIFAR-10 at patch 4, trained at 32, 24 and 16 px and at sizes from 16 to 32 px.
    Run: python experiments/sweep.py cifar10.navit --data-root /data/cifar10 --seeds 0,1,2. 12 runs a seed;
    --backbone deit_nano are 6."""
    return _both(cifar10, lambda recipe: at_mixed_sizes(recipe, 4))


def shapes_embeddings() -> list[ExperimentConfig]:
    """Which patch embedding is better, at equal patch sizes and at equal FLOPs? Both nano backbones on shapes at
    patches 16 to 1 with a convolution, overlapping, early convolutions and several scales; all but the first also on as
    many images as have the FLOPs of the convolution.
    Run: python experiments/sweep.py shapes.embeddings --seeds 0,1,2. 70 runs a seed; --patch 16,8,4 are 42."""
    return _both(shapes, each_embedding)


def cifar10_embeddings() -> list[ExperimentConfig]:
    """shapes.embeddings on CIFAR-10, at patches 16 to 4.
    Run: python experiments/sweep.py cifar10.embeddings --data-root /data/cifar10 --seeds 0,1,2. 42 runs a seed."""
    return _both(cifar10, lambda recipe: each_embedding(recipe, (16, 8, 4)))


def shapes_embed_init() -> list[ExperimentConfig]:
    """Does the scale of tokens at the start decide the law of patch size? Both nano backbones on shapes at patches 16
    to 1 with four initialisations of the kernel: two give tokens of one scale at every patch size, He's is larger, and
    that of Xavier falls with the patch.
    Run: python experiments/sweep.py shapes.embed_init --seeds 0,1,2. 40 runs a seed."""
    return _both(shapes, each_init)


def shapes_adaptive() -> list[ExperimentConfig]:
    """Do patches of several sizes, placed by an image's content, help at equally many tokens? Both nano backbones on
    shapes of 32 px with 16, 64 and 256 tokens: uniform patches of 8, 4 and 2 px by a convolution and by a resized
    kernel, and leaves of quadtrees by variance, by edges and, as a control, by the variance of the turned image.
    Run: python experiments/sweep.py shapes.adaptive --seeds 0,1,2. 30 runs a seed; --backbone deit_nano are 15."""
    return _both(shapes, lambda recipe: against_uniform(recipe, 32))


def cifar10_adaptive() -> list[ExperimentConfig]:
    """shapes.adaptive on CIFAR-10.
    Run: python experiments/sweep.py cifar10.adaptive --data-root /data/cifar10 --seeds 0,1,2. 30 runs a seed;
    --backbone deit_nano are 15."""
    return _both(cifar10, lambda recipe: against_uniform(recipe, 32))


def shapes_positions() -> list[ExperimentConfig]:
    """Which position encodings carry over to other image sizes? Both nano backbones on shapes at patch 2, trained on
    images of 8 to 12 px with each encoding, evaluated at 6 to 16 px.
    Run: python experiments/sweep.py shapes.positions --seeds 0,1,2. 24 runs a seed; --backbone deit_nano are 13."""
    return _both(shapes, lambda recipe: at_other_sizes(recipe, 2))


def cifar10_positions() -> list[ExperimentConfig]:
    """shapes.positions on CIFAR-10 at patch 4, trained at 16 to 24 px, evaluated at 12 to 32 px.
    Run: python experiments/sweep.py cifar10.positions --data-root /data/cifar10 --seeds 0,1,2. 24 runs a seed."""
    return _both(cifar10, lambda recipe: at_other_sizes(recipe, 4))


def shapes_stability() -> list[ExperimentConfig]:
    """Do clipping, warm-up and BatchNorm matter more where the patch size varies? Both nano backbones on shapes at
    patch 4, fixed, and with patches 16, 8, 4 drawn per step: no clipping, at 1 and at 5, a warm-up of 0, 5 and 10 %,
    and for DeiT three norms.
    Run: python experiments/sweep.py shapes.stability --seeds 0,1,2. 63 runs a seed; --backbone adventurer_nano are 18.
    """
    return _both(shapes, lambda recipe: in_each_setting(recipe, (16, 8, 4)))


def shapes_rate_range() -> list[ExperimentConfig]:
    """Does a patch size that varies narrow the range of good learning rates? Both nano backbones on shapes at patch 4,
    fixed, and with patches 16, 8, 4 drawn per step: 1/16 to 32 times the recipe's rate, clipped at 1 and not
    clipped. The rule is E9 of docs/claims.md.
    Run: python experiments/sweep.py shapes.rate_range --seeds 0,1,2,3,4. 80 runs a seed; --backbone deit_nano are 40.
    Expected (written before the runs): drawn sizes have the narrower range for Adventurer alone; without clipping, runs
    diverge at the highest rates only, with fixed and with drawn sizes."""
    return _both(shapes, lambda recipe: at_wide_rates(recipe, (16, 8, 4)))


STUDIES: dict[str, Study] = {  # by name on the command line
    "table5": table5,
    "figure2": figure2,
    "figure3": figure3,
    "figure4": figure4,
    "shapes.table5": shapes_table5,
    "shapes.figure2": shapes_figure2,
    "shapes.figure3": shapes_figure3,
    "shapes.figure4": shapes_figure4,
    "cifar10.table5": cifar10_table5,
    "cifar10.figure3": cifar10_figure3,
    "cifar10.figure4": cifar10_figure4,
    "camvid.figure2": camvid_figure2,
    "shapes.learning_rate": shapes_learning_rate,
    "cifar10.learning_rate": cifar10_learning_rate,
    "shapes.curricula": shapes_curricula,
    "cifar10.curricula": cifar10_curricula,
    "shapes.growing_crops": shapes_growing_crops,
    "shapes.position_changes": shapes_position_changes,
    "shapes.embeddings": shapes_embeddings,
    "cifar10.embeddings": cifar10_embeddings,
    "shapes.embed_init": shapes_embed_init,
    "shapes.adaptive": shapes_adaptive,
    "cifar10.adaptive": cifar10_adaptive,
    "shapes.flexivit": shapes_flexivit,
    "cifar10.flexivit": cifar10_flexivit,
    "shapes.transfer": shapes_transfer,
    "cifar10.transfer": cifar10_transfer,
    "shapes.patch_transfer": shapes_patch_transfer,
    "cifar10.patch_transfer": cifar10_patch_transfer,
    "shapes.position_laws": shapes_position_laws,
    "cifar10.position_laws": cifar10_position_laws,
    "shapes.token_drop": shapes_token_drop,
    "shapes.navit": shapes_navit,
    "cifar10.navit": cifar10_navit,
    "shapes.positions": shapes_positions,
    "cifar10.positions": cifar10_positions,
    "shapes.stability": shapes_stability,
    "shapes.rate_range": shapes_rate_range,
}


def _lengths(recipe: Function, patches: Sequence[int], extend: int) -> list[ExperimentConfig]:
    """The recipe at each patch by scaling and by extending from patch `extend`, at which both are the same."""
    ways = [(patch, way) for patch in patches for way in ((None, extend) if patch < extend else (None,))]
    return [
        stage
        for patch, way in ways
        for stage in linked([edit(edit(s, init="scratch"), embed_patch_size=way) for s in chain_of(recipe(patch))])
    ]


def _heads(recipes: Sequence[Function], patches: Sequence[int]) -> list[ExperimentConfig]:
    """The recipes with each head at each patch."""
    return [
        edit(run, head=head)
        for recipe in recipes
        for patch in patches
        for head in SEGMENTATION_HEADS
        for run in chain_of(recipe(patch))
    ]


def _sizes(recipe: Function) -> list[ExperimentConfig]:
    """A nano recipe as pico, nano and micro at patches 16, 8, 4, and pico at 2."""
    runs = []
    for size, patches in (("pico", (16, 8, 4, 2)), ("nano", (16, 8, 4)), ("micro", (16, 8, 4))):
        nanos = [run for patch in patches for run in chain_of(recipe(patch))]
        runs += [edit(run, backbone=run.model.backbone.replace("nano", size)) for run in nanos]
    return sorted(runs, key=lambda run: -run.model.patch_size)


def _enlarged(recipe: Function, images: Sequence[int], ratio: int) -> list[ExperimentConfig]:
    """The recipe at these image sizes [px], with ratio x ratio tokens in all of them."""
    (run,) = chain_of(recipe(1))
    return [edit(run, img_size=image, patch_size=image // ratio) for image in images]


def _both(data: ModuleType, study: Callable[[Function], list[ExperimentConfig]]) -> list[ExperimentConfig]:
    """A study of both nano backbones. data: the module with their recipes."""
    return [*study(data.deit_nano), *study(data.adventurer_nano)]
