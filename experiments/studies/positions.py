"""Studies of position encodings.

positions      each is trained on images of several sizes, packed, and evaluated at smaller and at larger ones (NaViT,
               arXiv 2307.06304, section 3.4 and figure 10). Which carry over? analysis/studies/reports.py
position_laws  each at every patch size. Does the exponent depend on it? analysis/studies/position_laws.py
"""

from collections.abc import Sequence

from experiments.stages import Function, chain_of
from scaling.config.additive_positions import COORDINATES
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig

TABLES = ("learned", "grid", "sincos", "sincos1d", "none")
FUNCTIONS = ("factorized", "fourier")  # of coordinates
IN_ATTENTION = ("rope", "rope_mixed")  # of DeiT
LAWS = ("sincos", "none", "sincos1d", "learned")  # encodings whose laws are compared
LAWS_IN_ATTENTION = ("rope", "rope_mixed", "relative", "relative_mlp")
LAWS_IN_SCAN = ("rope_scan",)


def at_other_sizes(recipe: Function, patch: int) -> list[ExperimentConfig]:
    """A recipe of one stage at this patch size, its images reduced to sizes from half to three quarters of img_size,
    with each encoding; evaluated at sizes from 3/8 of img_size to all of it. The patch divides an eighth of that."""
    (run,) = chain_of(recipe(patch))
    eighth = run.model.img_size // 8
    packed = edit(
        run,
        packing="sequences",
        image_sizes=f"{4 * eighth}-{6 * eighth}",
        eval_img_sizes=tuple(eighth * n for n in range(3, 8)),
    )
    tables = [edit(packed, pos_embed=kind) for kind in TABLES]
    functions = [
        edit(packed, pos_embed=kind, position_coordinates=coordinates)
        for kind in FUNCTIONS
        for coordinates in COORDINATES
    ]
    inside = [edit(packed, pos_embed=kind) for kind in IN_ATTENTION if run.model.family.startswith("deit")]
    return [*tables, *functions, *inside]


def at_patches(recipe: Function, patches: Sequence[int]) -> list[ExperimentConfig]:
    """A recipe of one stage at these patches [px] with each encoding."""
    runs = [run for patch in patches for run in chain_of(recipe(patch))]
    inside = LAWS_IN_ATTENTION if runs[0].model.family.startswith("deit") else LAWS_IN_SCAN
    return [edit(run, pos_embed=kind) for kind in LAWS + inside for run in runs]
