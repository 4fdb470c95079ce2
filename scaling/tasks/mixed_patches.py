"""Batches whose images differ in patch size: the images of one size go through the model together.

The loss of a step is the mean over its images, so its gradient is that of rows that packed them all, and no image has
padding."""

from scaling.config.at_shape import mixes_patches, patches_of_images
from scaling.config.experiment import ExperimentConfig
from scaling.config.step_shapes import StepShape
from scaling.data.batch import Batch


def by_patch_size(batch: Batch, config: ExperimentConfig) -> list[Batch]:
    """Parts of a training batch, a part per patch size that its images drew, from coarse to fine; the batch alone where
    all share one."""
    if not mixes_patches(config):
        return [batch]
    drawn = patches_of_images(config, batch.keys)
    return [
        batch.select([i for i, one in enumerate(drawn) if one == patch], StepShape(patch, batch.shape.img_size))
        for patch in sorted(set(drawn), reverse=True)
    ]
