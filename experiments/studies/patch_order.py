"""Studies of the order of patch sizes, "time is compute": does training on large patches first, which are cheap, give a
better model at the smallest one than training at that size alone?

All runs have equal training FLOPs and not equal steps: one of cheaper steps sees more images, each as often. Shares of
the warm-up and the learning rate over a run are the same. So are the kernel and its resampling, in the run of a fixed
patch size too: nothing but the order of patch sizes differs. analysis/studies/patch_order.py shows the result.
"""

from collections.abc import Sequence

from experiments.stages import Function, chain_of
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.costs.run_flops import recipe_step_flops, steps_of_equal_flops

LONGER = 2  # times the FLOPs of the others: fixed runs that take about as long as the others do, or longer


def in_each_order(recipe: Function, patches: Sequence[int], stretches: str) -> list[ExperimentConfig]:
    """A recipe of one stage at the finest of the patches, fixed, the same for LONGER, with uniform draws, with a ramp
    from coarse to fine, and with stretches. patches: from coarse to fine [px]; stretches: a schedule."""
    fixed = flexible_run(recipe, patches[-1])
    budget = budget_of(fixed)
    several = [
        edit(fixed, patches=",".join(map(str, patches))),
        edit(fixed, patch_schedule="..".join(map(str, patches))),
        edit(fixed, patch_schedule=stretches),
    ]
    return [fixed, *(of_flops(run, budget) for run in several), of_flops(fixed, LONGER * budget)]


def flexible_run(recipe: Function, patch: int) -> ExperimentConfig:
    """A recipe of one stage at a patch size [px], with a kernel that is resized."""
    (run,) = chain_of(recipe(patch))
    return edit(run, patch_embed="flexible")


def budget_of(run: ExperimentConfig) -> float:
    """Training FLOPs of a run."""
    return recipe_step_flops(run) * run.optim.global_batch_size * _steps(run)


def of_flops(run: ExperimentConfig, flops: float) -> ExperimentConfig:
    """The run with as many training images as have these training FLOPs, in as many epochs."""
    per_epoch = max(1, round(steps_of_equal_flops(run, flops) / run.schedule.epochs))
    return edit(run, num_train=per_epoch * run.optim.global_batch_size)


def _steps(run: ExperimentConfig) -> int:
    images = run.data.num_train
    assert images is not None  # of the recipes that a study has
    return images // run.optim.global_batch_size * run.schedule.epochs
