"""The cost of a model by arithmetic: tokens, parameters, FLOPs, memory. No torch.

FLOP convention of the whole project: forward pass of one image, 2 FLOPs per multiply-add; matrix products,
convolutions and the scan are counted, element-wise work (norms, activations, softmax, residuals) is not. A training
step is three forward passes. The scan is counted as its recurrence, three multiply-adds per channel, state and token
(decay, input, read-out), whatever an implementation does in chunks.

Letters: L image tokens, T = L + 1 with the class token, D width, M hidden width of the MLP, I = 2 D inner width of the
Mamba-2 mixer, H heads of attention or of the scan, N state, C hidden channels of a head, K classes, p patch [px].
Source of the sizes: Table 7 of arXiv 2502.03738.

One file per family (deit.py, adventurer.py), patch embedding (patch_embed.py), position encoding (pos_embed.py) and
head (linear_heads.py, upernet.py, cascade_mask_rcnn.py, with feature_pyramid.py), registered in registry.py; base.py
has their protocols. On top of these: whole_model.py, run_flops.py, phases.py, training_memory.py, token_counts.py,
token_limit.py. Data: dataset_sizes.py, hardware.py, conditions.py
"""

from scaling.costs.base import Breakdown, MemoryPolicy, TokenCount
from scaling.costs.dataset_sizes import IMAGENET_IMAGES, epoch_images
from scaling.costs.hardware import CARDS, peak_flops
from scaling.costs.registry import COST_MODELS, EMBED_COSTS, HEAD_COSTS, POSITION_COSTS
from scaling.costs.run_flops import recipe_step_flops, recipe_training_flops
from scaling.costs.token_counts import recipe_sides, recipe_tokens, tokens
from scaling.costs.training_memory import activation_bytes, memory_bytes, optimiser_bytes, step_bytes
from scaling.costs.whole_model import (
    flops,
    flops_by_part,
    parameters,
    parameters_by_part,
    position_parameters,
    recipe_flops,
    recipe_flops_by_part,
    recipe_parameters,
)

__all__ = [
    "CARDS",
    "COST_MODELS",
    "EMBED_COSTS",
    "HEAD_COSTS",
    "IMAGENET_IMAGES",
    "POSITION_COSTS",
    "Breakdown",
    "MemoryPolicy",
    "TokenCount",
    "activation_bytes",
    "epoch_images",
    "flops",
    "flops_by_part",
    "memory_bytes",
    "optimiser_bytes",
    "parameters",
    "parameters_by_part",
    "peak_flops",
    "position_parameters",
    "recipe_flops",
    "recipe_flops_by_part",
    "recipe_parameters",
    "recipe_sides",
    "recipe_step_flops",
    "recipe_tokens",
    "recipe_training_flops",
    "step_bytes",
    "tokens",
]
