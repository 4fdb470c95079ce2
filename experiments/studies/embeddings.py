"""Studies of patch embeddings: which one is better at a patch size, at equal FLOPs too, and whether the initial scale
of tokens decides the law of patch size. analysis/studies/embeddings.py shows the results.
"""

from collections.abc import Iterable, Sequence

from experiments.stages import Function, chain_of
from experiments.studies.patch_order import of_flops
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.config.patch_embeds import RELEASED
from scaling.costs.run_flops import recipe_training_flops

PATCHES = (16, 8, 4, 2, 1)  # px
OTHERS = ("overlapping", "conv_stem", "hierarchical")  # embeddings that are compared with a convolution
INITS = (RELEASED, "xavier", "he")
OWN_INIT = {"deit": "timm", "adventurer": "lecun"}  # that RELEASED is


def each_embedding(recipe: Function, patches: Sequence[int] = PATCHES) -> list[ExperimentConfig]:
    """A recipe of one stage at these patches [px] with a convolution and with each of OTHERS; these also on as many
    training images as have the training FLOPs of the convolution on all of them."""
    found = []
    for plain in _at_patches(recipe, patches):
        images = plain.data.num_train
        assert images is not None  # of the recipes that a study has
        others = [edit(plain, patch_embed=kind) for kind in OTHERS]
        budget = recipe_training_flops(plain, images)
        found += [plain, *others, *(of_flops(other, budget) for other in others)]
    return found


def each_init(recipe: Function) -> list[ExperimentConfig]:
    """A recipe of one stage at PATCHES with each of INITS, and with that which the other backbone has."""
    return [
        edit(plain, embed_init=init) for plain in _at_patches(recipe, PATCHES) for init in (*INITS, _others_init(plain))
    ]


def _others_init(plain: ExperimentConfig) -> str:
    return next(init for family, init in OWN_INIT.items() if family != plain.model.family)


def _at_patches(recipe: Function, patches: Sequence[int]) -> Iterable[ExperimentConfig]:
    return (run for patch in patches for run in chain_of(recipe(patch)))
