"""What a model costs, by arithmetic: tokens, parameters, FLOPs, memory. No torch.

The FLOP convention, here and everywhere in this project: forward pass, one image, 2 FLOPs a multiply-add; matrix
products, convolutions and the scan are counted, element-wise work (norms, activations, softmax, residuals) is not.
A training step is three forward passes: backward makes the gradients of both factors of every product. The scan is
counted as its recurrence, three multiply-adds for each channel, state and token (decay, input, read-out), whatever the
implementation does in chunks.

Letters: L patches, T = L + 1 with the class token, D width, M hidden width of the MLP, I = 2 D inner width of the
Mamba-2 mixer, H heads of attention or of the scan, N state, K classes, p patch [px].
Sources: Table 7 of arXiv 2502.03738; Adventurer is arXiv 2410.07599.

This is the door; behind it: costs_tokens.py, costs_flops.py, costs_parameters.py and costs_heads.py (segmentation's and
detection's), costs_memory.py with costs_activations.py and costs_head_memory.py, costs_images.py, costs_cards.py and
costs_conditions.py.
"""

from scaling.costs_cards import CARDS, peak_flops
from scaling.costs_flops import (
    Flops,
    flops,
    flops_by_part,
    recipe_flops,
    recipe_flops_by_part,
    recipe_training_flops,
    vit_flops,
)
from scaling.costs_heads import DETECTIONS, PROPOSALS, cascade_flops, upernet_flops
from scaling.costs_images import IMAGENET_IMAGES, epoch_images
from scaling.costs_memory import activation_bytes, memory_bytes, optimiser_bytes, step_bytes
from scaling.costs_parameters import parameters, position_parameters, recipe_parameters
from scaling.costs_tokens import recipe_sides, recipe_tokens, tokens

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
