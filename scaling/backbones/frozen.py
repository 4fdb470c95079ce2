"""A flexible backbone frozen at one patch size: the weights of an ordinary one, whose features are the same there.

The kernel is resized and positions are evaluated once (FlexiViT, arXiv 2212.08013, section 3). Positions of any kind
that are added to tokens become a table, under `pos_embed` as in public checkpoints, so that timm's VisionTransformer
loads the weights of a DeiT. Those that act inside attention stay what they are.
L patches, T tokens, D width, p side of the learned kernel, q patch.
"""

import torch
from torch import Tensor

from scaling.backbones.base import Backbone, TokenLayout
from scaling.backbones.batch_norm import statistics_at
from scaling.backbones.patch_embed import KERNEL, FlexiblePatchEmbed
from scaling.backbones.position_encoding import PositionEncoding
from scaling.backbones.resampling import resize_kernel
from scaling.config.patch_size import check_patch
from scaling.errors import ConfigError

POSITIONS = "pos_embed"  # their name in public checkpoints


@torch.no_grad()
def frozen_state(backbone: Backbone, patch_size: int) -> dict[str, Tensor]:
    """Tensors under the keys of the backbone's public checkpoints, for the image size it is built for and patches of
    patch_size px. Raises ConfigError where the patches do not tile the image, and for a backbone that is not
    flexible."""
    net = backbone.checkpoint_module
    embed, positions = getattr(net, "patch_embed", None), getattr(net, "positions", None)
    if not isinstance(embed, FlexiblePatchEmbed) or not isinstance(positions, PositionEncoding):
        raise ConfigError("only a flexible model is frozen at a patch size: this one has a single one already")
    image = embed.grid_size[0] * embed.patch_size
    check_patch(image, patch_size)
    kernel_DCqq = resize_kernel(embed.proj.weight, patch_size, embed.resize, embed.antialias)
    side = image // patch_size
    leading, trailing = backbone.positioned_class_tokens
    state = {**net.state_dict(), KERNEL: kernel_DCqq.clone(), **statistics_at(net, patch_size)}
    if (positions.needs_attention or positions.needs_scan) and not positions.has_table:
        return state
    layout = TokenLayout(patch_size, kernel_DCqq.device, (side, side), leading=leading, trailing=trailing)
    none_1TD = kernel_DCqq.new_zeros(1, leading + side**2 + trailing, backbone.width)
    table_1TD = positions.add(none_1TD, layout, getattr(net, POSITIONS, None))
    return {**state, POSITIONS: table_1TD.clone()}
