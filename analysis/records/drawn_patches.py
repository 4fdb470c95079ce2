"""Runs whose training steps differ in patch or image size: which sizes these are, and what an image costs at each."""

import math

from scaling.config.at_shape import at_shape, learned_patches, mixes_patches, shapes_of
from scaling.config.experiment import ExperimentConfig
from scaling.config.step_shapes import ALL, PatchSchedule, RandomPatch, StepShape
from scaling.costs import recipe_flops, recipe_tokens


def patches_text(config: ExperimentConfig) -> str:
    """The patch sizes that a run learned, as "16,8,4", with weights where they differ and " per image" where each draws
    its own, or as its schedule has them; "" for a run of one size."""
    shapes = config.step_shapes
    if len(learned_patches(config)) == 1:
        return ""
    if isinstance(shapes, PatchSchedule):
        return shapes.text
    if not isinstance(shapes, RandomPatch):
        return ""
    patches = shapes.patches if shapes.patches != ALL else ",".join(str(one.patch_size) for one in shapes_of(config))
    return f"{patches} per image" if mixes_patches(config) else patches


def sizes_text(config: ExperimentConfig) -> str:
    """The sizes of the training images of a run: those of packed images, or as a schedule of one patch size has them;
    "" for one size. A schedule of several patch sizes is in patches_text."""
    shapes = config.step_shapes
    if isinstance(shapes, PatchSchedule) and not patches_text(config):
        return shapes.text
    return str(getattr(config.packing, "sizes_words", ""))


def costs_there(config: ExperimentConfig, patch_size: int, img_size: int, weights: str) -> dict[str, object]:
    """Of an evaluation of a run that drew its patches: tokens [1], flops_per_image [FLOPs; nan: unknown] and learned,
    whether the patch was drawn and the weights ("raw" or "ema") are the reported ones. Nothing for other runs."""
    drawn = learned_patches(config)
    if len(drawn) == 1:
        return {}
    shape = StepShape(patch_size, img_size)
    return {
        "tokens": recipe_tokens(at_shape(config, shape)),
        "flops_per_image": float(recipe_flops(config, shape)) or math.nan,
        "learned": patch_size in drawn and weights == config.evaluation.eval_weights,
    }
