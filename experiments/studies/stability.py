"""Studies of stability: does it matter more where the patch size varies from step to step how a model is trained?

stability   all combinations of clipping, warm-up and norm. A higher learning rate (--lr) makes training less stable.
            analysis/studies/stability.py
rate_range  learning rates from 1/16 to 32 times the recipe's, with clipping and without. How many are good?
            analysis/studies/rate_range.py

Both have a fixed patch size and one drawn per step, on equally many images. The kernel is the flexible one in both, so
that nothing but the patch sizes of the steps differs.
"""

from collections.abc import Sequence

from experiments.stages import Function
from experiments.studies.patch_order import flexible_run
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig

CLIPS = (None, 1.0, 5.0)  # largest norm of the gradient; None: not clipped
WARMUPS = (0.0, 0.05, 0.1)  # share of the run
RATES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16, 32)  # of the recipe's learning rate
NORMS = {"deit": ("layer", "batch", "batch_per_patch")}  # of a family; of others only that of their blocks


def in_each_setting(recipe: Function, patches: Sequence[int]) -> list[ExperimentConfig]:
    """A recipe of one stage at the finest of the patches [px], fixed and drawn, in every setting. Statistics of each
    patch size are for runs that have several."""
    fixed, drawn = _fixed_and_drawn(recipe, patches)
    norms = NORMS.get(fixed.model.family, ("layer",))
    return [
        edit(run, norm=norm, max_grad_norm=clip, warmup_epochs=warmup * run.schedule.epochs)
        for run in (fixed, drawn)
        for norm in norms
        if run is drawn or norm != "batch_per_patch"
        for clip in CLIPS
        for warmup in WARMUPS
    ]


def at_wide_rates(recipe: Function, patches: Sequence[int]) -> list[ExperimentConfig]:
    """A recipe of one stage at the finest of the patches [px], fixed and drawn, at each of RATES, clipped as in the
    recipe and not clipped."""
    return [
        edit(run, lr=run.optim.lr * rate, max_grad_norm=clip)
        for run in _fixed_and_drawn(recipe, patches)
        for clip in (run.optim.max_grad_norm, None)
        for rate in RATES
    ]


def _fixed_and_drawn(recipe: Function, patches: Sequence[int]) -> tuple[ExperimentConfig, ExperimentConfig]:
    fixed = flexible_run(recipe, patches[-1])
    return fixed, edit(fixed, patches=",".join(map(str, patches)))
