"""What recipes of several data sets share: one model for every patch size (FlexiViT, arXiv 2212.08013), and packed
images of any sizes (NaViT, arXiv 2307.06304)."""

from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig


def flexible(fixed: ExperimentConfig) -> ExperimentConfig:
    """A recipe with one set of weights for patches from 16 px to its own, of which every step draws one. A sweep trains
    one run per seed, whose finest patch is the finest of the sweep."""
    return edit(fixed, patch_embed="flexible", step_shapes="random_patch", coarsest_patch=16)


def sizes_of(patch: int, wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Those of the image sizes [px] that the patch divides."""
    return tuple(size for size in wanted if size % patch == 0)
