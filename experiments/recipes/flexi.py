"""Recipes of one model for every patch size (FlexiViT, arXiv 2212.08013): every step draws its patch.

--patch is the finest patch that is drawn; all divisors of the image from there to 48 px are, or those of --patches. A
sweep trains one run per seed, whose finest patch is the finest of the sweep, and the run is evaluated at every patch.
"""

from experiments.recipes import cifar10, shapes
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig


def deit_nano(patch: int) -> ExperimentConfig:
    """shapes.deit_nano with one set of weights for patches 16 to `patch`, each drawn equally often; all else, the
    number of steps and the sine-cosine positions too, as there, so that the curves differ by what is shared alone.
    Run: python experiments/run.py flexi.deit_nano --patch 1."""
    return edit(shapes.deit_nano(patch), patch_embed="flexible", step_shapes="random_patch")


def adventurer_nano(patch: int) -> ExperimentConfig:
    """shapes.adventurer_nano with one set of weights for patches 16 to `patch`; as deit_nano.
    Run: python experiments/run.py flexi.adventurer_nano --patch 1."""
    return edit(deit_nano(patch), backbone="adventurer_nano")


def seg_nano(patch: int) -> ExperimentConfig:
    """shapes.seg_nano with one set of weights, head included, for patches 16 to `patch`; as deit_nano. Not for 32, a
    whole image in one token.
    Run: python experiments/run.py flexi.seg_nano --patch 2."""
    return _up_to_16(shapes.seg_nano(patch))


def det_nano(patch: int) -> ExperimentConfig:
    """shapes.det_nano with one set of weights, head included, for patches 16 to `patch`; as deit_nano.
    Run: python experiments/run.py flexi.det_nano --patch 4."""
    return _up_to_16(shapes.det_nano(patch))


def cifar10_deit_nano(patch: int) -> ExperimentConfig:
    """cifar10.deit_nano with one set of weights for patches 16 to `patch`, each drawn equally often; all else as there.
    Run: python experiments/run.py flexi.cifar10_deit_nano --patch 2 --data-root /data/cifar10."""
    return _up_to_16(cifar10.deit_nano(patch))


def cifar10_adventurer_nano(patch: int) -> ExperimentConfig:
    """cifar10.adventurer_nano with one set of weights for patches 16 to `patch`; as cifar10_deit_nano.
    Run: python experiments/run.py flexi.cifar10_adventurer_nano --patch 2 --data-root /data/cifar10."""
    return edit(cifar10_deit_nano(patch), backbone="adventurer_nano")


def _up_to_16(fixed: ExperimentConfig) -> ExperimentConfig:
    return edit(fixed, patch_embed="flexible", step_shapes="random_patch", coarsest_patch=16)
