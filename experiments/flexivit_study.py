"""The study flexivit: one flexible model beside a model per patch size, and each of these at all other patch sizes by
each way of resizing its kernel (figures 3 and 4 of FlexiViT, arXiv 2212.08013, in small).

A model at another patch size is a run of no epochs that starts from the fixed run: so it has a record, and is resumed
and skipped as any run. Its row at the fixed run's own patch size is that of the fixed run. analysis/studies/flexivit.py
shows the result.
"""

from experiments.stages import Function, chain_of
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.config.initialization import FromRun
from scaling.config.model import RESIZE_METHODS

PATCHES = (16, 8, 4, 2)  # px


def at_all_patches(recipe: Function) -> list[ExperimentConfig]:
    """A recipe of one stage: with PATCHES drawn at random, at each of them, and these runs evaluated at the others."""
    (finest,) = chain_of(recipe(min(PATCHES)))
    spelled = ",".join(map(str, PATCHES))
    flexible = edit(finest, patch_embed="flexible", step_shapes="random_patch", patches=spelled)
    fixed = [run for patch in PATCHES for run in chain_of(recipe(patch))]
    return [flexible, *fixed, *(resized(run, method) for run in fixed for method in RESIZE_METHODS)]


def resized(run: ExperimentConfig, method: str) -> ExperimentConfig:
    """A finished run of a fixed patch size, evaluated at all of PATCHES with its kernel resized by a method."""
    patch = run.model.patch_size
    return edit(
        run,
        epochs=0,
        patch_embed="flexible",
        kernel_size=patch,
        resize=method,
        eval_patches=tuple(other for other in PATCHES if other != patch),
        init=FromRun(config=run),
    )
