"""Training FLOPs of a run whose steps may differ in patch and image size: as planned, and as drawn step by step.

Evaluation, recomputed activations and a teacher are not in them. FLOP convention as in scaling/costs/__init__.py.
"""

import numpy as np
from numpy.typing import NDArray

from scaling.config.at_shape import images_of_step, model_shape, shapes_of
from scaling.config.experiment import ExperimentConfig
from scaling.config.step_shapes import Course, StepShape
from scaling.costs.whole_model import recipe_flops

STEP_PASSES = 3  # a training step in forward passes: backward makes the gradients of both factors of every product


def shape_flops(config: ExperimentConfig) -> dict[StepShape, float]:
    """FLOPs of a training step per image, by the shapes that steps may have. Empty: unknown."""
    flops = {shape: float(STEP_PASSES * _image_flops(config, shape)) for shape in shapes_of(config)}
    return flops if all(flops.values()) else {}


def _image_flops(config: ExperimentConfig, shape: StepShape) -> float:
    """Forward pass of an image of such a step, the mean over the sizes of packed images [FLOPs]. 0: unknown."""
    shares = images_of_step(config, shape).items()
    return sum(share * recipe_flops(config, one) for one, share in shares)


def course_of(config: ExperimentConfig, total_steps: int) -> Course:
    """What the shapes of a run of so many steps follow from, besides its seed."""
    return Course(model_shape(config), total_steps, shape_flops(config))


def recipe_step_flops(config: ExperimentConfig) -> int:
    """Forward and backward pass of one image, without recomputing [FLOPs]; where steps differ in patch or image size,
    the expected mean over the steps of a run, rounded. 0: unknown."""
    flops = shape_flops(config)
    if not flops:
        return 0
    shares = config.step_shapes.shares(model_shape(config), flops)
    return round(sum(share * flops[shape] for shape, share in shares.items()))


def recipe_training_flops(config: ExperimentConfig, train_images: int) -> float:
    """A whole training run with train_images per epoch, evaluation left out [FLOPs]. 0: unknown."""
    images = (config.schedule.max_steps or 0) * config.optim.global_batch_size or train_images * config.schedule.epochs
    return float(recipe_step_flops(config)) * images


def cumulated_flops(config: ExperimentConfig, total_steps: int) -> NDArray[np.float64]:
    """(total_steps + 1,) training FLOPs after 0, 1 ... steps, of the shapes that these steps of this seed had. Empty:
    unknown."""
    course = course_of(config, total_steps)
    if not course.flops:
        return np.empty(0)
    shapes = [config.step_shapes.at(config.seed, step, course) for step in range(total_steps)]
    batch = config.optim.global_batch_size
    return np.concatenate([[0.0], np.cumsum([batch * course.flops[shape] for shape in shapes])])


def steps_of_equal_flops(config: ExperimentConfig, flops: float) -> int:
    """Optimiser steps that have these training FLOPs in expectation, to the nearest step; 1 at least. Raises ValueError
    where those of the model are unknown."""
    of_step = recipe_step_flops(config) * config.optim.global_batch_size
    if not of_step:
        raise ValueError(f"the FLOPs of {config.model.backbone} are unknown")
    return max(1, round(flops / of_step))
