"""Costs of the heads that are one linear layer per image, or per token (scaling/heads/segmentation.py)."""

from dataclasses import dataclass

from scaling.costs.base import FLOAT, HeadInput


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
