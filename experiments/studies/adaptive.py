"""The study adaptive: do patches of several sizes, placed by an image's content, help at equally many tokens?

For each patch size p of a uniform model there is an adaptive one with as many tokens and training images, so with the
same FLOPs: leaves of p / 2, p and 2 p px. Its trees follow the variance, the edges, or the variance at the opposite
place of the image. The last one is the control: as many leaves of each size, at places that do not follow the content.
A uniform model whose kernel has 2 p px and is resized to p shows what the embedding alone does, and the uniform model
of the next patch size has four times the tokens. analysis/studies/adaptive.py shows the result.

Expected, before the first run: variance is better than its control where objects are smaller than the image; whether it
is better than uniform patches is open.
"""

from experiments.stages import Function, chain_of
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.config.patch_embeds import SPLITS

PATCHES = (8, 4, 2)  # of the uniform models [px]


def against_uniform(recipe: Function, img_size: int) -> list[ExperimentConfig]:
    """A recipe of one stage on images of img_size px: at each of PATCHES uniform, uniform by a resized kernel, and
    adaptive with as many tokens by each of SPLITS."""
    found = []
    for patch in PATCHES:
        for run in chain_of(recipe(patch)):
            uniform = edit(run, img_size=img_size)
            finest = edit(uniform, patch_embed="adaptive", patch_size=patch // 2)
            found += [uniform, edit(uniform, patch_embed="flexible", kernel_size=2 * patch)]
            found += [edit(finest, split_by=split) for split in SPLITS]
    return found
