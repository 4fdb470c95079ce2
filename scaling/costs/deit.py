"""Costs of DeiT and DeiT III (scaling/backbones/deit.py). Letters as in scaling/costs/__init__.py.

Sources: arXiv 2012.12877 and 2204.07118. Each term of the memory names the tensor and the operation that keeps it in
torch on a CPU; tests compare the sums with the bytes that torch holds.
"""

from dataclasses import dataclass

from scaling.costs.base import FLOAT, Activations, Breakdown, MemoryPolicy, TokenCount, equal_blocks, stream_bytes
from scaling.model_specs import ModelSpec


@dataclass(frozen=True)
class DeitCosts:
    """Pre-norm transformer with a class token."""

    layer_scale: bool = False  # a learned factor per channel behind attention and MLP
    class_position: bool = True  # the class token has a position, too
    extra_tokens: int = 1

    def parameters(self, spec: ModelSpec, tokens: TokenCount) -> Breakdown:
        d, m = spec.width, spec.mlp
        block = 4 * d * d + 4 * d + 2 * d * m + m + d + 4 * d  # attention, MLP, two LayerNorms
        block += 2 * d if self.layer_scale else 0
        extra_positions = tokens.extra if self.class_position and tokens.positions else 0
        return Breakdown(
            {
                "positions": (tokens.positions + extra_positions) * d,
                "class_token": tokens.extra * d,
                "blocks": spec.depth * block,
                "norm": 2 * d,
            }
        )

    def flops(self, spec: ModelSpec, tokens: TokenCount) -> Breakdown:
        t, d = tokens.total, spec.width
        return Breakdown(
            {
                "projections": spec.depth * 2 * t * 4 * d * d,
                "attention": spec.depth * 2 * 2 * t * t * d,
                "mlp": spec.depth * 2 * t * 2 * d * spec.mlp,
            }
        )

    def activations(self, spec: ModelSpec, tokens: TokenCount, policy: MemoryPolicy, images: int) -> Activations:
        block, backward = self._block(spec, tokens.total, policy), self._backward(spec, tokens, policy)
        return equal_blocks(spec, tokens, policy, block=block, backward=backward)

    def _block(self, spec: ModelSpec, t: int, policy: MemoryPolicy) -> int:
        """Memory that one block keeps [bytes]."""
        d, m, heads, number = spec.width, spec.mlp, spec.width // spec.head_dim, policy.number
        total = 2 * FLOAT * t * (d + 2)  # inputs of the two norms; their means and deviations
        total += number * t * 2 * d  # outputs of the norms, inputs of qkv and fc1
        total += (number if policy.flash else FLOAT) * t * 3 * d  # queries, keys, values; without flash float32
        total += number * t * d  # attention's output, the projection's input
        total += number * t * 2 * m  # fc1's output, GELU's input; GELU's output, fc2's input
        if self.layer_scale:
            total += number * t * 2 * d  # outputs of projection and fc2, which layer scale multiplies
        return total + (FLOAT * heads * t if policy.flash else FLOAT * heads * t * t)  # log-sum-exp; softmax's matrix

    def _backward(self, spec: ModelSpec, tokens: TokenCount, policy: MemoryPolicy) -> int:
        """Additional memory at the peak of the last block's backward pass [bytes]."""
        t, d, m, number = tokens.total, spec.width, spec.mlp, policy.number
        stream = stream_bytes(spec, tokens)  # the gradient of the block's output
        mlp = stream + number * t * m  # of fc2's input
        if policy.flash:
            return mlp
        # Gradients of softmax's output and input, of values and the stream; freed: what MLP and projection kept.
        heads = d // spec.head_dim
        pairs = stream + FLOAT * t * (2 * heads * t + d) - number * t * (2 * m + 2 * d) - FLOAT * t * d
        return max(mlp, pairs)
