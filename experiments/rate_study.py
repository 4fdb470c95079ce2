"""Learning-rate studies: every patch size at several learning rates, to see whether the best one depends on the patch.

A tenth of the training images is held out of training, and the rate is chosen by the loss on these; test images choose
nothing. analysis/studies/learning_rates.py shows the result.
"""

from collections.abc import Sequence
from types import ModuleType

from experiments.recipes import cifar10, shapes
from experiments.stages import Function, chain_of
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the recipe's learning rate
HELD_OUT = 0.1  # of the training images
PATCHES = (16, 8, 4, 2)  # px


def shapes_learning_rate() -> list[ExperimentConfig]:
    """Does the best learning rate depend on the patch size? Both nano backbones on shapes at patches 16, 8, 4, 2, each
    at a quarter to four times the recipe's rate.
    Run: python experiments/sweep.py shapes.learning_rate --seeds 0,1,2. 40 runs a seed."""
    return _both(shapes)


def cifar10_learning_rate() -> list[ExperimentConfig]:
    """shapes.learning_rate on CIFAR-10. --epochs and --num-train make its runs longer.
    Run: python experiments/sweep.py cifar10.learning_rate --data-root /data/cifar10 --seeds 0,1,2. 40 runs a seed;
    --patch 8,4 are 20."""
    return _both(cifar10)


def at_rates(recipe: Function, patches: Sequence[int]) -> list[ExperimentConfig]:
    """A recipe of one stage at each patch size [px] and learning rate, with images held out."""
    runs = [run for patch in patches for run in chain_of(recipe(patch))]
    return [edit(run, lr=run.optim.lr * factor, val_split=HELD_OUT) for run in runs for factor in FACTORS]


def _both(data: ModuleType) -> list[ExperimentConfig]:
    return [*at_rates(data.deit_nano, PATCHES), *at_rates(data.adventurer_nano, PATCHES)]
