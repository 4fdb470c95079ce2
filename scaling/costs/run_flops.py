"""Training FLOPs of a run whose steps may differ in patch and image size, and in the share of the tokens that they
keep: as planned, and as drawn step by step.

Evaluation, recomputed activations and a teacher are not in them. FLOP convention as in scaling/costs/__init__.py.
"""

import numpy as np
from numpy.typing import NDArray

from scaling.config.at_shape import images_of_step, model_shape, shapes_of, step_batch_size
from scaling.config.experiment import ExperimentConfig
from scaling.config.packing import SequencePacking
from scaling.config.step_shapes import Course, StepShape
from scaling.config.token_drop import NoDrop, Numbers
from scaling.costs.token_counts import tokens
from scaling.costs.whole_model import recipe_flops

STEP_PASSES = 3  # a training step in forward passes: backward makes the gradients of both factors of every product
POINTS = 256  # of a distribution of rates, and of a schedule, that means are taken over


def shape_flops(config: ExperimentConfig) -> dict[StepShape, float]:
    """FLOPs of a training step per image, by the shapes that steps may have; the mean over the run where the share of
    tokens that is dropped changes. Empty: unknown."""
    whole_run = (np.arange(POINTS) + 0.5) / POINTS
    flops = {shape: float(_step_flops(config, shape, whole_run).mean()) for shape in shapes_of(config)}
    return flops if all(flops.values()) else {}


def _step_flops(config: ExperimentConfig, shape: StepShape, progress_S: Numbers) -> Numbers:
    """(S,) FLOPs of steps of this shape per image, the mean over the sizes and the dropped tokens of packed images.
    progress_S: shares of the run's steps before each. 0: unknown."""
    shares = images_of_step(config, shape).items()
    of_sizes = [share * _image_flops(config, one, progress_S) for one, share in shares]
    return STEP_PASSES * np.sum(of_sizes, axis=0)


def _image_flops(config: ExperimentConfig, shape: StepShape, progress_S: Numbers) -> Numbers:
    """(S,) forward pass of an image, the mean over the tokens that are kept [FLOPs]. 0: unknown."""
    packing = config.packing
    if not isinstance(packing, SequencePacking) or isinstance(packing.token_drop, NoDrop):
        return np.full(progress_S.shape, float(recipe_flops(config, shape)))
    shares = (np.arange(POINTS) + 0.5) / POINTS
    place = np.array(packing.place_of(shape.img_size**2))
    rate_ES = packing.token_drop.rates(shares[:, None], place, progress_S)
    return np.broadcast_to(_kept_flops(config, shape, np.atleast_2d(rate_ES)).mean(0), progress_S.shape)


def _kept_flops(config: ExperimentConfig, shape: StepShape, rate: Numbers) -> Numbers:
    """Forward pass of an image of which this share of the patches is dropped, the mean over the rounding to whole
    patches (scaling/packing/token_drop.py) [FLOPs]. An array as rate."""
    patches = tokens(shape.img_size, shape.patch_size)
    exact = (1 - rate) * patches
    low = np.maximum(np.floor(exact), 1).astype(int)
    high = np.clip(np.floor(exact).astype(int) + 1, 1, patches)
    counts, places = np.unique([low, high], return_inverse=True)
    at_low, at_high = np.array([float(recipe_flops(config, shape, n)) for n in counts.tolist()])[places]
    return np.asarray(at_low + (exact - np.floor(exact)) * (at_high - at_low))


def course_of(config: ExperimentConfig, total_steps: int) -> Course:
    """What the shapes of a run of so many steps follow from, besides its seed."""
    return Course(model_shape(config), total_steps, shape_flops(config))


def recipe_step_flops(config: ExperimentConfig) -> int:
    """Forward and backward pass of one image, without recomputing [FLOPs]; where steps differ in patch or image size,
    the expected mean over the steps of a run, rounded; where they differ in their images too, the mean step divided by
    global_batch_size. 0: unknown."""
    flops = shape_flops(config)
    if not flops:
        return 0
    shares = config.step_shapes.shares(model_shape(config), flops)
    return round(sum(share * _batches(config, shape) * flops[shape] for shape, share in shares.items()))


def _batches(config: ExperimentConfig, shape: StepShape) -> float:
    """Images of a step of this shape over those of the model's."""
    return step_batch_size(config, shape) / config.optim.global_batch_size


def recipe_training_flops(config: ExperimentConfig, train_images: int) -> float:
    """A whole training run with train_images per epoch, evaluation left out [FLOPs]. 0: unknown."""
    images = (config.schedule.max_steps or 0) * config.optim.global_batch_size or train_images * config.schedule.epochs
    return float(recipe_step_flops(config)) * images


def cumulated_flops(config: ExperimentConfig, total_steps: int) -> NDArray[np.float64]:
    """(total_steps + 1,) training FLOPs after 0, 1 ... steps, of the shapes that these steps of this seed had, and the
    expected number of tokens. Empty: unknown."""
    course = course_of(config, total_steps)
    if not course.flops:
        return np.empty(0)
    shapes = [config.step_shapes.at(config.seed, step, course) for step in range(total_steps)]
    progress = np.arange(total_steps) / total_steps
    flops = {shape: _step_flops(config, shape, progress) for shape in set(shapes)}
    of_steps = [step_batch_size(config, shape) * flops[shape][step] for step, shape in enumerate(shapes)]
    return np.concatenate([[0.0], np.cumsum(of_steps)])


def seen_images(config: ExperimentConfig, total_steps: int) -> int:
    """Training images of a run of so many steps of this seed, each as often as it was seen."""
    course = course_of(config, total_steps)
    shapes = (config.step_shapes.at(config.seed, step, course) for step in range(total_steps))
    return sum(step_batch_size(config, shape) for shape in shapes)


def steps_of_equal_flops(config: ExperimentConfig, flops: float) -> int:
    """Optimiser steps that have these training FLOPs in expectation, to the nearest step; 1 at least. Raises ValueError
    where those of the model are unknown."""
    of_step = recipe_step_flops(config) * config.optim.global_batch_size
    if not of_step:
        raise ValueError(f"the FLOPs of {config.model.backbone} are unknown")
    return max(1, round(flops / of_step))
