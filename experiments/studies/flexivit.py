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
from scaling.config.patch_embeds import RESIZE_METHODS

PATCHES = (16, 8, 4, 2)  # px


def at_all_patches(recipe: Function, flexible: Function) -> list[ExperimentConfig]:
    """A recipe of one stage at each of PATCHES, these runs evaluated at the others, and the flexible recipe, which
    draws all of them."""
    fixed = [run for patch in PATCHES for run in chain_of(recipe(patch))]
    evaluated = [resized(run, method) for run in fixed for method in RESIZE_METHODS]
    return [*chain_of(flexible(min(PATCHES))), *fixed, *evaluated]


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
