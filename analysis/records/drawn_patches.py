"""Runs whose training steps draw their patch size: which sizes these are, and what an image costs at each."""

import math

from scaling.config.at_shape import at_shape, shape_shares
from scaling.config.experiment import ExperimentConfig
from scaling.config.step_shapes import ALL, RandomPatch, StepShape
from scaling.costs import recipe_flops, recipe_tokens


def patches_text(config: ExperimentConfig) -> str:
    """The patch sizes that a run learned, as "16,8,4", with weights where they differ; "" for a run of one size."""
    if not isinstance(config.step_shapes, RandomPatch):
        return ""
    if config.step_shapes.patches != ALL:
        return config.step_shapes.patches
    return ",".join(str(shape.patch_size) for shape in shape_shares(config))


def costs_there(config: ExperimentConfig, patch_size: int, img_size: int, weights: str) -> dict[str, object]:
    """Of an evaluation of a run that drew its patches: tokens [1], flops_per_image [FLOPs; nan: unknown] and learned,
    whether the patch was drawn and the weights ("raw" or "ema") are the reported ones. Nothing for other runs."""
    if not isinstance(config.step_shapes, RandomPatch):
        return {}
    drawn = {shape.patch_size for shape in shape_shares(config)}
    shape = StepShape(patch_size, img_size)
    return {
        "tokens": recipe_tokens(at_shape(config, shape)),
        "flops_per_image": float(recipe_flops(config, shape)) or math.nan,
        "learned": patch_size in drawn and weights == config.evaluation.eval_weights,
    }
