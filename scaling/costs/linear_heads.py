"""Costs of the heads of classification, and of those that are one linear layer per token (scaling/heads)."""

from dataclasses import dataclass

from scaling.costs.base import FLOAT, HeadInput
from scaling.model_specs import MAP_MLP_RATIO


@dataclass(frozen=True)
class ClassifierCosts:
    """One linear layer per image."""

    def parameters(self, x: HeadInput) -> int:
        return x.spec.width * x.classes + x.classes

    def flops(self, x: HeadInput) -> int:
        return 2 * x.spec.width * x.classes

    def activations(self, x: HeadInput, number: int) -> int:
        # The last norm's output, whole; in bf16 a copy of one token.
        return FLOAT * x.tokens.total * x.spec.width if number == FLOAT else 0

    def loss_backward(self, x: HeadInput) -> int:
        return 0


@dataclass(frozen=True)
class AttentionClassifierCosts:
    """Attention pooling with one query per image, an MLP with a residual, and one linear layer."""

    def parameters(self, x: HeadInput) -> int:
        d, m = x.spec.width, MAP_MLP_RATIO * x.spec.width
        pool = d + 4 * (d * d + d)  # the query; projections of query, keys, values and output
        pool += 2 * d + 2 * d * m + m + d  # norm, MLP
        return pool + d * x.classes + x.classes

    def flops(self, x: HeadInput) -> int:
        d, m, tokens = x.spec.width, MAP_MLP_RATIO * x.spec.width, x.tokens.image
        pool = 2 * (2 * d * d + tokens * 2 * d * d)  # projections of query and output, of keys and values
        pool += 2 * 2 * tokens * d + 2 * 2 * d * m  # attention, MLP
        return pool + 2 * d * x.classes

    def activations(self, x: HeadInput, number: int) -> int:
        # The patch tokens, input of the projection; keys and values.
        return FLOAT * x.tokens.total * x.spec.width + number * x.tokens.image * 2 * x.spec.width

    def loss_backward(self, x: HeadInput) -> int:
        return 0


@dataclass(frozen=True)
class TokenClassifierCosts:
    """One linear layer per token, for segmentation."""

    def parameters(self, x: HeadInput) -> int:
        return x.spec.width * x.classes + x.classes

    def flops(self, x: HeadInput) -> int:
        return 2 * x.spec.width * x.classes * x.tokens.image

    def activations(self, x: HeadInput, number: int) -> int:
        return pixel_loss_bytes(x) + number * x.tokens.image * x.spec.width  # the map, the layer's input

    def loss_backward(self, x: HeadInput) -> int:
        return pixel_loss_backward(x)


def pixel_loss_bytes(x: HeadInput) -> int:
    """Memory that a cross-entropy per pixel keeps: log-probabilities, and labels as int64 [bytes]."""
    return x.pixels * (FLOAT * x.classes + 8)


def pixel_loss_backward(x: HeadInput) -> int:
    """Gradients of the log-probabilities and of the logits of a cross-entropy per pixel [bytes]."""
    return 2 * FLOAT * x.classes * x.pixels
