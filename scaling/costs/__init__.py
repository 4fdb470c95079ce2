"""What a model costs, by arithmetic: tokens, parameters, FLOPs, memory. No torch.

The FLOP convention, here and everywhere in this project: forward pass, one image, 2 FLOPs a multiply-add; matrix
products, convolutions and the scan are counted, element-wise work (norms, activations, softmax, residuals) is not.
A training step is three forward passes: backward makes the gradients of both factors of every product. The scan is
counted as its recurrence, three multiply-adds for each channel, state and token (decay, input, read-out), whatever the
implementation does in chunks.

Letters: L patches, T = L + 1 with the class token, D width, M hidden width of the MLP, I = 2 D inner width of the
Mamba-2 mixer, H heads of attention or of the scan, N state, K classes, p patch [px].
Sources: Table 7 of arXiv 2502.03738; Adventurer is arXiv 2410.07599.

This is the door; behind it: token_counts.py, flop_counts.py, parameter_counts.py and heads.py (segmentation's and
detection's), training_memory.py with activations.py and head_memory.py, dataset_sizes.py, hardware.py and
conditions.py.
"""

from scaling.costs.dataset_sizes import IMAGENET_IMAGES, epoch_images
from scaling.costs.flop_counts import (
    Flops,
    flops,
    flops_by_part,
    recipe_flops,
    recipe_flops_by_part,
    recipe_training_flops,
    vit_flops,
)
from scaling.costs.hardware import CARDS, peak_flops
from scaling.costs.heads import DETECTIONS, PROPOSALS, cascade_flops, upernet_flops
from scaling.costs.parameter_counts import parameters, position_parameters, recipe_parameters
from scaling.costs.token_counts import recipe_sides, recipe_tokens, tokens
from scaling.costs.training_memory import activation_bytes, memory_bytes, optimiser_bytes, step_bytes

__all__ = [
    "CARDS",
    "DETECTIONS",
    "IMAGENET_IMAGES",
    "PROPOSALS",
    "Flops",
    "activation_bytes",
    "cascade_flops",
    "epoch_images",
    "flops",
    "flops_by_part",
    "memory_bytes",
    "optimiser_bytes",
    "parameters",
    "peak_flops",
    "position_parameters",
    "recipe_flops",
    "recipe_flops_by_part",
    "recipe_parameters",
    "recipe_sides",
    "recipe_tokens",
    "recipe_training_flops",
    "step_bytes",
    "tokens",
    "upernet_flops",
    "vit_flops",
]
