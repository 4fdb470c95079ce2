"""Learning-rate studies: every patch size at several learning rates, to see whether the best one depends on the patch.

A tenth of the training images is held out of training, and the rate is chosen by the loss on these; test images choose
nothing. analysis/studies/learning_rates.py shows the result.
"""

from experiments.stages import Function, chain_of
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the recipe's learning rate
HELD_OUT = 0.1  # of the training images
PATCHES = (16, 8, 4, 2)  # px


def at_rates(recipe: Function) -> list[ExperimentConfig]:
    """A recipe of one stage at each of PATCHES and each learning rate, with images held out."""
    runs = [run for patch in PATCHES for run in chain_of(recipe(patch))]
    return [edit(run, lr=run.optim.lr * factor, val_split=HELD_OUT) for run in runs for factor in FACTORS]
