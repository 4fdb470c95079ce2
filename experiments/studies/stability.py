"""Studies of stability: do clipping, warm-up and the norm matter more where the patch size varies from step to step?

All combinations of clipping, warm-up and norm, with a fixed patch size and with one drawn per step, on equally many
images. The kernel is the flexible one in both, so that nothing but the patch sizes of the steps differs. A higher
learning rate (--lr) makes training less stable. analysis/studies/stability.py shows the result.
"""

from collections.abc import Sequence

from experiments.stages import Function, chain_of
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig

CLIPS = (None, 1.0, 5.0)  # largest norm of the gradient; None: not clipped
WARMUPS = (0.0, 0.05, 0.1)  # share of the run
NORMS = {"deit": ("layer", "batch", "batch_per_patch")}  # of a family; of others only that of their blocks


def in_each_setting(recipe: Function, patches: Sequence[int]) -> list[ExperimentConfig]:
    """A recipe of one stage at the finest of the patches [px], fixed and drawn, in every setting. Statistics of each
    patch size are for runs that have several."""
    (fixed,) = [edit(run, patch_embed="flexible") for run in chain_of(recipe(patches[-1]))]
    drawn = edit(fixed, patches=",".join(map(str, patches)))
    norms = NORMS.get(fixed.model.family, ("layer",))
    return [
        edit(run, norm=norm, max_grad_norm=clip, warmup_epochs=warmup * run.schedule.epochs)
        for run in (fixed, drawn)
        for norm in norms
        if run is drawn or norm != "batch_per_patch"
        for clip in CLIPS
        for warmup in WARMUPS
    ]
