"""Memory of training, by arithmetic: what is kept for the way back, and all of it at the peak. Letters as in costs.py.

Options, the same everywhere. recompute: blocks are computed again on the way back, only their inputs are kept. flash:
attention does not keep its matrix, as torch's fused kernels do not. number: bytes a number, 4 for float32 and 2 for
bf16-mixed, in which weights, the stream between blocks, norms and losses are float32 all the same.
"""

from scaling.costs.activations import FLOAT, backward_bytes, block_bytes, held_bytes, image_bytes, stream_bytes
from scaling.costs.head_memory import head_bytes, loss_bytes
from scaling.costs.parameter_counts import block_parameters, recipe_parameters
from scaling.model_specs import SIZES, Size
from scaling.recipe import Recipe

# What a process has when it has made a step, be it of one small image: code of kernels, threads, and memory that glibc
# does not give back. Measured on two CPU cores: 20 MiB where glibc gives all of it back (MALLOC_MMAP_THRESHOLD_), else
# 50 to 140, and 50 to 300 where blocks are recomputed.
PROGRAM = 64 * 2**20
SHARE = 0.8  # of the memory that is free, or that a model leaves, which a plan may fill [1]


def activation_bytes(
    recipe: Recipe, recompute: bool = False, flash: bool = True, number: int = 4, at_once: int = 0
) -> int:
    """What a training step keeps for an image until its gradient comes [bytes]; recomputing, the most at a time: every
    block's input and one block whole. 0: not known, for timm's backbones.

    at_once: images in a micro-batch, as Adventurer's mixer keeps more of small ones; 0: many."""
    size = SIZES.get(recipe.backbone)
    if size is None:
        return 0
    kept = _before_loss(recipe, recompute, flash, number, at_once)
    block = block_bytes(recipe, size, flash, number, at_once) - stream_bytes(recipe, size)
    return kept + block if recompute else kept


def step_bytes(recipe: Recipe, micro_batch: int, recompute: bool = False, flash: bool = True, number: int = 4) -> int:
    """The most that a training step holds at once of so many images, gradients of activations among it, beside weights,
    their gradients and the optimiser's state [bytes]. 0: not known, for timm's backbones."""
    size = SIZES.get(recipe.backbone)
    if size is None:
        return 0
    block = block_bytes(recipe, size, flash, number, micro_batch)
    kept = image_bytes(recipe, number) + _blocks(recipe, size, recompute, flash, number, micro_batch)
    if recompute:
        kept += block - stream_bytes(recipe, size)
    at_loss = _before_loss(recipe, recompute, flash, number, micro_batch) + loss_bytes(recipe)
    at_last_block = kept + backward_bytes(recipe, size, flash, number)
    beside = FLOAT * size.width * size.mlp  # the gradient of a block's largest matrix, before it is added up
    if number < FLOAT:  # autocast's copies of weights
        beside += number * (block_parameters(size) if recompute else recipe_parameters(recipe))
    return max(micro_batch * at_loss, micro_batch * at_last_block + beside)


def _before_loss(recipe: Recipe, recompute: bool, flash: bool, number: int, at_once: int) -> int:
    """Kept of an image when the forward pass is done."""
    size = SIZES[recipe.backbone]
    blocks = _blocks(recipe, size, recompute, flash, number, at_once)
    return image_bytes(recipe, number) + blocks + stream_bytes(recipe, size) + head_bytes(recipe, size, number)


def _blocks(recipe: Recipe, size: Size, recompute: bool, flash: bool, number: int, at_once: int) -> int:
    """Of an image, by all blocks; recomputing, before any is computed again."""
    if not recompute:
        return size.depth * block_bytes(recipe, size, flash, number, at_once)
    return size.depth * (stream_bytes(recipe, size) + (held_bytes(recipe, size, number, at_once) if at_once else 0))


def optimiser_bytes(parameters: int, ema: bool = False) -> int:
    """Weights, gradients and the two moments of AdamW, in float32, and an average of the weights [bytes]."""
    return (5 if ema else 4) * FLOAT * parameters


def memory_bytes(recipe: Recipe, micro_batch: int, recompute: bool = False, flash: bool = True, number: int = 4) -> int:
    """All that training adds to a process at its peak, on one device, with so many images at a time [bytes]:
    optimiser_bytes, step_bytes and PROGRAM. Where a step is one micro-batch, gradients of weights come as activations
    go, and the larger of the two counts. 0: not known, for timm's backbones."""
    parameters = recipe_parameters(recipe)
    if not parameters:
        return 0
    step = step_bytes(recipe, micro_batch, recompute, flash, number)
    if micro_batch >= recipe.batch:
        step = max(step - FLOAT * parameters, 0)
    return optimiser_bytes(parameters, recipe.ema > 0) + step + PROGRAM
