"""Heads for semantic segmentation, built by mmseg: one linear layer per token, or UperNet (arXiv 1807.10221).

Table 2 of arXiv 2502.03738 compares the two on ADE20K. It does not print which blocks UperNet reads and how wide it is:
blocks are those of mmseg's configs for plain ViTs (at a quarter, half, three quarters and all of the depth); the width
is an option.
B batch, D width, h w of a map, K classes, H W of the image [px].

Departs: group norm instead of mmseg's synchronised batch norm, and no dropout. At small patches a device has room
for one image at a time, and batch statistics would then depend on the patch size. No auxiliary head.
"""

from collections.abc import Callable

from torch import Tensor, nn

from scaling.backbones.base import Features
from scaling.backbones.init import initialise_by_name
from scaling.config.fields import check_name
from scaling.config.task import SEGMENTATION_HEADS
from scaling.heads.feature_pyramid import FeaturePyramid
from scaling.heads.openmmlab import build
from scaling.model_specs import FPN_STRIDES, UPERNET_POOLS
from scaling.rng import seed_of, seeded

LEVELS = len(FPN_STRIDES)


class Linear(nn.Module):
    """Logits (B, K, h, w) at the backbone's stride, each from the token of its patch; of packed images (1, K, L, 1), of
    all patches, image by image."""

    blocks: tuple[int, ...] = ()

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        convs = {"num_convs": 0, "concat_input": False, "in_channels": width, "channels": width, "in_index": 0}
        self.head = build("segmentation", {"type": "FCNHead", **convs, **_common(classes)})

    def forward(self, features: Features, size: tuple[int, int]) -> Tensor:
        rows = features.layout.rows
        if rows is None:
            return self.head([features.to_map()])
        logits_1KL = self.head([features.tokens_BLD.transpose(1, 2).unsqueeze(3)]).squeeze(3)
        return logits_1KL.unsqueeze(3) if rows.levels == 1 else features.layout.to_map(logits_1KL.transpose(1, 2))


class UperNet(nn.Module):
    """Logits (B, K, H/4, W/4) from maps after several blocks."""

    def __init__(self, width: int, stride: int, depth: int, classes: int, channels: int) -> None:
        super().__init__()
        taken = taken_blocks(depth)
        self.blocks: tuple[int, ...] = tuple(sorted(set(taken)))
        self.levels = [self.blocks.index(n) for n in taken]  # a shallow backbone's block serves two levels
        self.pyramid = FeaturePyramid(width, stride)
        maps = {"in_channels": [width] * LEVELS, "in_index": list(range(LEVELS)), "pool_scales": UPERNET_POOLS}
        norm = {"type": "GN", "num_groups": groups(channels)}
        config = {"type": "UPerHead", **maps, "channels": channels, "norm_cfg": norm, **_common(classes)}
        self.head = build("segmentation", config)

    def forward(self, features: Features, size: tuple[int, int]) -> Tensor:
        """size: the image's height and width [px]."""
        maps = features.hidden_maps()
        if len(maps) != len(self.blocks):
            raise ValueError(f"{len(maps)} maps for the blocks {self.blocks}; request these blocks of the backbone")
        return self.head(self.pyramid([maps[n] for n in self.levels], size))


def _common(classes: int) -> dict[str, object]:
    # out_channels: left out, two classes are warned of
    return {"num_classes": classes, "out_channels": classes, "dropout_ratio": 0, "align_corners": False}


def taken_blocks(depth: int) -> tuple[int, ...]:
    """The blocks, from 0, after which a quarter, half, three quarters and all of the depth are done."""
    return tuple(-(-depth * n // LEVELS) - 1 for n in range(1, LEVELS + 1))


def groups(channels: int) -> int:
    """Groups of a group norm: the largest divisor of channels up to 32 that leaves four channels to a group.

    UperNet pools to a single cell, where a group of one channel would be its own mean: always zero, and no gradient.
    """
    most = max(min(32, channels // 4), 1)
    return next(n for n in range(most, 0, -1) if channels % n == 0)


def draw(module: nn.Module, name: str) -> None:
    """Initialise the parameters of one module as mmcv and mmseg do."""
    if isinstance(module, nn.Conv2d):
        if name.endswith("conv_seg"):
            nn.init.normal_(module.weight, std=0.01)
        else:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.ConvTranspose2d | nn.GroupNorm | nn.LayerNorm):
        module.reset_parameters()  # norms: 1 and 0


def _linear(width: int, stride: int, depth: int, classes: int, channels: int) -> Linear:
    return Linear(width, classes)


# By name; arguments: width, stride [px] and depth of the backbone, classes, hidden channels. A head of a plug-in is a
# module with `blocks` and forward(features, size), as those of this file.
HEADS: dict[str, Callable[[int, int, int, int, int], Linear | UperNet]] = {"linear": _linear, "upernet": UperNet}


def build_head(
    name: str, width: int, stride: int, depth: int, classes: int, channels: int, seed: int
) -> Linear | UperNet:
    """The head of that name, its weights drawn from the seed and the names of modules, so that they are equal at all
    patch sizes.

    width, stride [px], depth [blocks]: the backbone's; channels: hidden channels of UperNet. The head has `blocks`, the
    indices (from 0) of the backbone's blocks whose maps it reads, none for linear, which reads the last map; and
    forward(features, size of the image [px]) returns logits (B, classes, h, w) at its own stride.
    """
    check_name("head", name, SEGMENTATION_HEADS)
    with seeded(seed_of(seed, "construction")):
        head = HEADS[name](width, stride, depth, classes, channels)
    initialise_by_name(head, seed, draw)
    return head
