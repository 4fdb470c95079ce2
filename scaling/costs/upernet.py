"""Costs of UperNet on a feature pyramid (scaling/heads/segmentation.py). Source: arXiv 1807.10221."""

from dataclasses import dataclass

from scaling.costs.base import FLOAT, HeadInput
from scaling.costs.feature_pyramid import map_cells, pyramid_bytes, pyramid_flops, pyramid_parameters
from scaling.costs.linear_heads import pixel_loss_backward, pixel_loss_bytes
from scaling.model_specs import FPN_STRIDES, UPERNET_POOLS


@dataclass(frozen=True)
class UpernetCosts:
    """Pooled branches on the coarsest map, a top-down path, a linear layer per cell of the finest map."""

    def parameters(self, x: HeadInput) -> int:
        d, c, levels = x.spec.width, x.channels, len(FPN_STRIDES) - 1
        total = pyramid_parameters(x)
        total += (len(UPERNET_POOLS) + levels) * (d * c + 2 * c)  # pooled branches, laterals: no bias, a norm
        total += 9 * (d + len(UPERNET_POOLS) * c) * c + 2 * c  # bottleneck of the pooled branches
        total += levels * (9 * c * c + 2 * c)  # a convolution per level
        total += 9 * len(FPN_STRIDES) * c * c + 2 * c  # bottleneck of the levels
        return total + c * x.classes + x.classes

    def flops(self, x: HeadInput) -> int:
        d, c, cells = x.spec.width, x.channels, map_cells(x.sides, FPN_STRIDES)
        total = pyramid_flops(x)
        total += 2 * d * c * (_pooled_cells() + sum(cells[:-1]))  # pooled branches, laterals
        total += 2 * 9 * (d + len(UPERNET_POOLS) * c) * c * cells[-1]  # bottleneck of the pooled branches
        total += 2 * 9 * c * c * sum(cells[:-1])  # a convolution per level
        total += 2 * 9 * len(FPN_STRIDES) * c * c * cells[0]  # bottleneck of the levels
        return total + 2 * c * x.classes * cells[0]

    def activations(self, x: HeadInput, number: int) -> int:
        d, c, levels, cells = x.spec.width, x.channels, len(FPN_STRIDES), map_cells(x.sides, FPN_STRIDES)
        blocks = [-(-x.spec.depth * n // levels) for n in range(1, levels + 1)]
        total = pixel_loss_bytes(x) + pyramid_bytes(x, number, blocks)
        total += 2 * FLOAT * x.tokens.total * len(set(blocks))  # the last norm's statistics, on every map
        convolved = 2 * FLOAT * c  # outputs of a convolution, which the norm reads, and of ReLU
        total += sum(cells[:-1]) * (2 * convolved + number * c)  # laterals, their sums, the convolutions on them
        total += _pooled_cells() * (number * d + convolved)
        total += cells[-1] * (number * (d + len(UPERNET_POOLS) * c) + convolved)  # bottleneck of the pooled branches
        total += cells[0] * (number * levels * c + convolved)  # bottleneck of the levels
        return total + (number * cells[0] * c if number < FLOAT else 0)  # the last layer's input: in bf16 a copy

    def loss_backward(self, x: HeadInput) -> int:
        return pixel_loss_backward(x)


def _pooled_cells() -> int:
    return sum(side**2 for side in UPERNET_POOLS)
