"""A configuration as it is at one patch and image size: what a training step or an evaluation of another shape sees."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from math import floor, isqrt
from typing import cast

from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.config.packing import NATIVE, SequencePacking
from scaling.config.patch_weights import at_share
from scaling.config.step_shapes import Course, FixedShape, PatchSchedule, RandomPatch, StepShape
from scaling.config.token_drop import NoDrop
from scaling.model_specs import CLASS_TOKENS
from scaling.rng import SampleKey, uniform

SIZES = 64  # of packed images, for their mean cost


def model_shape(config: ExperimentConfig) -> StepShape:
    """The shape that the model is built and evaluated for."""
    return StepShape(config.model.patch_size, config.model.img_size)


def shapes_of(config: ExperimentConfig) -> Collection[StepShape]:
    """All shapes that training steps may have; more than one where a run learns several."""
    return config.step_shapes.shapes(model_shape(config))


def step_shape(config: ExperimentConfig, step: int, course: Course) -> StepShape:
    """The shape of a step of the run with this seed; its image size is that of the model, but where all images of a
    step share a drawn size, in whole patches."""
    shape = config.step_shapes.at(config.seed, step, course)
    packing = config.packing
    if not isinstance(packing, SequencePacking) or packing.image_sizes_per == "image":
        return shape
    share = float(uniform([SampleKey(0, step)], config.seed, "image_size_of_step")[0, 0])
    return _of_size(config, shape, packing.size_at(share))


def learned_patches(config: ExperimentConfig) -> set[int]:
    """All patch sizes that training steps may have [px]; more than one where one model learns several."""
    return {shape.patch_size for shape in shapes_of(config)}


def mixes_patches(config: ExperimentConfig) -> bool:
    """Whether each image of a training step draws its own patch size."""
    shapes = config.step_shapes
    return isinstance(shapes, RandomPatch) and shapes.patch_per == "image" and len(shapes_of(config)) > 1


def patches_of_images(config: ExperimentConfig, keys: Sequence[SampleKey]) -> list[int]:
    """The patch size of each training image where each draws its own [px]: a function of the seed and its key."""
    shares = cast(RandomPatch, config.step_shapes).image_shares(model_shape(config))
    return [at_share(shares, u).patch_size for u in uniform(keys, config.seed, "patch_of_image")[:, 0].tolist()]


def step_batch_size(config: ExperimentConfig, shape: StepShape) -> int:
    """Images of a training step of this shape, over all devices."""
    shapes, batch = config.step_shapes, config.optim.global_batch_size
    return shapes.images(model_shape(config), shape, batch) if isinstance(shapes, PatchSchedule) else batch


def images_of_step(config: ExperimentConfig, shape: StepShape) -> Mapping[StepShape, float]:
    """The expected share of the images of steps of this shape that have each shape, whose patch size may be drawn for
    each image. The sizes of packed images are
    taken at equal steps of their distribution, as squares of whole patches; images of their own sizes are taken to have
    that of the model."""
    packing = config.packing
    if mixes_patches(config) and shape == model_shape(config):
        return cast(RandomPatch, config.step_shapes).image_shares(shape)
    if not isinstance(packing, SequencePacking) or packing.image_sizes == NATIVE:
        return {shape: 1.0}
    drawn = Counter(_of_size(config, shape, packing.size_at((step + 0.5) / SIZES)) for step in range(SIZES))
    return {one: count / SIZES for one, count in drawn.items()}


def largest_image(config: ExperimentConfig) -> StepShape:
    """The shape of the largest images that training steps may have, as squares of whole patches, which memory is
    planned for. Images of their own sizes, which nobody knows before they are read, are taken to have that of the
    model."""
    packing, shape = config.packing, model_shape(config)
    return _of_size(config, shape, packing.size_at(1.0)) if isinstance(packing, SequencePacking) else shape


def _of_size(config: ExperimentConfig, shape: StepShape, size: float | None) -> StepShape:
    """A square image of this size [px] (None: that of the shape), in whole patches of the shape, at most as many as a
    row holds. Of images whose tokens are dropped a row holds more, which is not looked at."""
    packing = config.packing
    if size is None or not isinstance(packing, SequencePacking):
        return shape
    patches = max(1, floor(size / shape.patch_size + 0.5))
    if isinstance(packing.token_drop, NoDrop):
        class_tokens = sum(CLASS_TOKENS.get(config.model.family, ()))
        patches = min(patches, max(1, isqrt(packing.sequence_length - class_tokens)))
    return StepShape(shape.patch_size, patches * shape.patch_size)


def at_shape(config: ExperimentConfig, shape: StepShape | None) -> ExperimentConfig:
    """The configuration with the patch and image size of a step, at every step. Raises ConfigError for sizes that do
    not fit each other."""
    if shape is None or shape == model_shape(config):
        return config
    return _at_shape(config, shape)


def at_patch(config: ExperimentConfig, patch_size: int | None) -> ExperimentConfig:
    """The same with the image size of the model. patch_size [px]: None is the model's own."""
    patch = config.model.patch_size if patch_size is None else patch_size
    return at_shape(config, StepShape(patch, config.model.img_size))


@lru_cache(maxsize=256)
def _at_shape(config: ExperimentConfig, shape: StepShape) -> ExperimentConfig:
    plain = edit(config, step_shapes=FixedShape(), eval_patches=(), eval_img_sizes=())
    stride = getattr(config.task, "slide_stride", None)  # of evaluation windows, which may not be wider than the image
    narrower = {"slide_stride": shape.img_size} if stride and stride > shape.img_size else {}
    return edit(plain, patch_size=shape.patch_size, img_size=shape.img_size, **narrower)


def phase_config(config: ExperimentConfig, shape: StepShape) -> ExperimentConfig:
    """The configuration of a run of which all steps are as those of this shape, with their batch. Where each image
    draws its patch size, all steps have the shape of the model, and their images several."""
    if mixes_patches(config) and shape == model_shape(config):
        return config
    there, images = edit(at_shape(config, shape), step_shapes=FixedShape()), step_batch_size(config, shape)
    return there if images == config.optim.global_batch_size else edit(there, global_batch_size=images)


def evaluated_sizes(config: ExperimentConfig) -> tuple[int, ...]:
    """Image sizes that a finished run is evaluated at [px]: that of the model first."""
    sizes = (config.model.img_size, *sorted(config.evaluation.eval_img_sizes))
    return tuple(dict.fromkeys(sizes))


def evaluated_patches(config: ExperimentConfig) -> tuple[int, ...]:
    """Patch sizes that a finished run is evaluated at, fine to coarse [px]: that of the model first, then those that
    training draws, and EvaluationConfig.eval_patches."""
    if not config.model.any_patch:
        return (config.model.patch_size,)
    others = (learned_patches(config) | set(config.evaluation.eval_patches)) - {config.model.patch_size}
    return (config.model.patch_size, *sorted(others))
