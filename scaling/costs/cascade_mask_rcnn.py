"""Costs of Cascade Mask R-CNN on a feature pyramid (scaling/heads/cascade_mask_rcnn.py, cascade_config.py).

Source: arXiv 1906.09756. FLOPs are of inference with MAX_PROPOSALS regions and MAX_DETECTIONS masks, the most there
are. All of the head is float32.
"""

from dataclasses import dataclass

from scaling.costs.base import FLOAT, HeadInput
from scaling.costs.feature_pyramid import map_cells, pyramid_bytes, pyramid_flops, pyramid_parameters
from scaling.model_specs import (
    ANCHOR_RATIOS,
    ANCHOR_SCALES,
    ANCHOR_STRIDES,
    BOX_SIDE,
    CASCADE_STAGES,
    FPN_STRIDES,
    MASK_FRACTION,
    MASK_SIDE,
    MAX_DETECTIONS,
    MAX_PROPOSALS,
)

ANCHORS = len(ANCHOR_SCALES) * len(ANCHOR_RATIOS)  # per cell: a score and four numbers each
RPN_LOSS_NUMBERS = 24  # that the losses of the region proposal network keep per anchor, counted


@dataclass(frozen=True)
class CascadeMaskRCNNCosts:
    """Neck, region proposal network, and the stages of box and mask heads."""

    def parameters(self, x: HeadInput) -> int:
        c, hidden = x.channels, 4 * x.channels
        total = pyramid_parameters(x)
        total += len(FPN_STRIDES) * (x.spec.width * c + 2 * c + 9 * c * c + 2 * c)  # neck: no bias, a norm behind both
        total += 9 * c * c + c + ANCHORS * 5 * (c + 1)  # region proposal network
        box = BOX_SIDE**2 * c * hidden + hidden + hidden * hidden + hidden + (hidden + 1) * (x.classes + 1 + 4)
        mask = 4 * (9 * c * c + c) + 4 * c * c + c + (c + 1) * x.classes
        return total + CASCADE_STAGES * (box + mask)

    def flops(self, x: HeadInput) -> int:
        c, hidden, cells = x.channels, 4 * x.channels, map_cells(x.sides, ANCHOR_STRIDES)
        total = pyramid_flops(x)
        total += 2 * (x.spec.width * c + 9 * c * c) * sum(cells[:-1])  # neck
        total += 2 * (9 * c * c + ANCHORS * 5 * c) * sum(cells)  # region proposal network
        box = BOX_SIDE**2 * c * hidden + hidden * hidden + hidden * (x.classes + 1 + 4)
        mask = MASK_SIDE**2 * (4 * 9 * c * c) + MASK_SIDE**2 * 4 * c * c + (2 * MASK_SIDE) ** 2 * c * x.classes
        return total + 2 * CASCADE_STAGES * (MAX_PROPOSALS * box + MAX_DETECTIONS * mask)

    def activations(self, x: HeadInput, number: int) -> int:
        return int(self.kept(x, x.rois, int(x.rois * MASK_FRACTION)))

    def kept(self, x: HeadInput, boxes: float, masks: float) -> float:
        """Memory with this many sampled regions per stage, and this many of them with masks [bytes]."""
        c, cells = x.channels, map_cells(x.sides, ANCHOR_STRIDES)
        total = pyramid_bytes(x, FLOAT, [x.spec.depth] * len(FPN_STRIDES))
        total += FLOAT * sum(cells[:-1]) * (4 * c + 4)  # neck: outputs of two convolutions and two norms; statistics
        total += FLOAT * cells[-1] * c  # its last map
        total += FLOAT * sum(cells) * (c + ANCHORS * RPN_LOSS_NUMBERS)  # ReLU's output; scores, boxes and their losses
        box = BOX_SIDE**2 * c + 2 * 4 * c  # the pooled features, two hidden layers
        # The pooled features, four convolutions, the enlarged features; logits, target.
        mask = 5 * MASK_SIDE**2 * c + (2 * MASK_SIDE) ** 2 * (c + 2)
        return total + FLOAT * CASCADE_STAGES * (boxes * box + masks * mask)

    def loss_backward(self, x: HeadInput) -> int:
        return 0
