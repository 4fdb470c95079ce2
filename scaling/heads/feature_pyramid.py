"""Maps at the strides that dense heads read, from a plain backbone at any patch.

Source: the simple feature pyramid of ViTDet (arXiv 2203.16527, section 3), which mmseg calls Feature2Pyramid. Both
assume patch 16; here every step follows from the backbone's stride.
B batch, D width, h w of a map, H W of the image [px].

Departs: maps coarser than the backbone's are means, not maxima. A patch-1 backbone pools 1,024 tokens into one of
stride 32, a patch-16 one 4: the maximum grows with their number, the mean does not.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from scaling.model_specs import FPN_STRIDES, num_upsamples


class FeaturePyramid(nn.Module):
    """Maps (B, D, h, w) at a backbone's stride to one map for each of strides [px], contiguous.

    To a finer stride: doubled by transposed convolutions, between two of them a LayerNorm over the channels and a GELU,
    then bilinearly to the exact size (patch 14 to stride 4: doubled once, then by 1.75). To a coarser one: average
    pooling. No intermediate map is larger than the requested one.

    A backbone of another stride than it is built for, as a flexible one has in most steps, shares all weights: where
    transposed convolutions follow, its map is first brought to the grid of that stride, bilinearly from a coarser one
    and by means from a finer one; so they always double maps of one scale. Where none follow, the map goes to the
    requested stride at once: a detour over the finest grid would smooth it and, with a backbone built for patch 1, hold
    a vector per pixel. Nothing changes at the stride that it is built for.

    The maps and the image share their edges. Where a stride does not divide the image, a cell is therefore a little
    less than the stride; pad the image first where that matters, as detection's anchors do.
    """

    def __init__(self, width: int, stride: int, strides: Sequence[int] = FPN_STRIDES) -> None:
        super().__init__()
        if min(width, stride, *strides) < 1 or not strides:
            raise ValueError(f"width {width}, stride {stride} and strides {tuple(strides)} must be 1 or more")
        self.width, self.stride, self.strides = width, stride, tuple(strides)
        self.up = nn.ModuleDict({str(s): _doubled(width, num_upsamples(stride, s)) for s in self.strides})

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> list[Tensor]:
        """maps: one for each of strides, or one that serves all, at any stride of the backbone; size: the image's
        height and width [px]."""
        if len(maps) not in (1, len(self.strides)):
            raise ValueError(f"{len(maps)} maps for strides {self.strides}; give one for each, or one for all")
        if len(maps) == 1:
            maps = [maps[0]] * len(self.strides)
        out = []
        for map_BDhw, s in zip(maps, self.strides, strict=True):
            if num_upsamples(self.stride, s):
                map_BDhw = _resized(map_BDhw, _grid(size, self.stride))
            out.append(_resized(self.up[str(s)](map_BDhw), _grid(size, s)).contiguous())
        return out


def _grid(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Rows and columns of cells of that stride that an image has, rounded up."""
    return -(-size[0] // stride), -(-size[1] // stride)


def _doubled(width: int, times: int) -> nn.Sequential:
    steps: list[nn.Module] = []
    for n in range(times):
        if n:
            # Departs: mmseg has batch norm here, whose statistics would depend on the micro-batch.
            steps += [LayerNorm2d(width), nn.GELU()]
        steps.append(nn.ConvTranspose2d(width, width, kernel_size=2, stride=2))
    return nn.Sequential(*steps)


def _resized(x_BDhw: Tensor, target: tuple[int, int]) -> Tensor:
    """Enlarged bilinearly, reduced by means, or unchanged."""
    h, w = x_BDhw.shape[-2:]
    if (h, w) == target:
        return x_BDhw
    if h < target[0] or w < target[1]:
        return F.interpolate(x_BDhw, target, mode="bilinear", align_corners=False)
    if h % target[0] == 0 and w % target[1] == 0:  # the same numbers; adaptive pooling's gradient is not
        return F.avg_pool2d(x_BDhw, (h // target[0], w // target[1]))  # deterministic on CUDA
    return F.adaptive_avg_pool2d(x_BDhw, target)
