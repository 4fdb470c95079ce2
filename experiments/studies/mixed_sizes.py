"""Studies of mixed image sizes: is a model that trains on images of several sizes better than one that trains on images
of one size, at equally many images and at equal FLOPs, whatever size it is tested at?

Small images are cheap: with the training FLOPs of images of full size a model sees more images of mixed sizes, each as
often. All models are evaluated at the smallest, the middle and the full size. Sizes are drawn per image, or once for
all images of a step. Source: section 3.2 of NaViT (arXiv 2307.06304). analysis/studies/mixed_sizes.py shows the result.
"""

from experiments.stages import Function, chain_of
from experiments.studies.patch_order import of_flops
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.costs.run_flops import recipe_training_flops


def at_mixed_sizes(recipe: Function, patch: int) -> list[ExperimentConfig]:
    """A recipe of one stage at this patch size, with images of the full size, of half of it, and of 3/4 of it; of sizes
    from half to full, drawn per image, on as many images and with as many FLOPs as at the full size; and of sizes drawn
    per step on as many images. The patch divides half the full size and a quarter of it."""
    (run,) = chain_of(recipe(patch))
    full = run.model.img_size
    small, middle = full // 2, full * 3 // 4
    at_full = edit(run, packing="sequences", image_sizes=str(full), eval_img_sizes=(small, middle))
    fixed = [at_full, *(edit(at_full, image_sizes=str(size)) for size in (middle, small))]
    mixed = edit(at_full, image_sizes=f"{small}-{full}")
    assert run.data.num_train is not None  # of the recipes that a study has
    budget = recipe_training_flops(at_full, run.data.num_train)
    return [*fixed, mixed, of_flops(mixed, budget), edit(mixed, image_sizes_per="batch")]
