"""Costs of RoPE (scaling/backbones/rope.py). Turning is element-wise work, which is not counted."""

from dataclasses import dataclass

from scaling.costs.base import FLOAT, MemoryPolicy, PositionInput


@dataclass(frozen=True)
class RopeCosts:
    """Queries and keys are turned in every block. learned: whether frequencies are, of each block and head, two for
    each pair of channels."""

    learned: bool
    has_table: bool = False
    keeps_matrix: bool = False
    splits_mixer: bool = False

    def parameters(self, x: PositionInput) -> int:
        return x.spec.depth * x.spec.width if self.learned else 0

    def block_bytes(self, x: PositionInput, number: int) -> int:
        """Queries and keys after they are turned; those before share their memory with the values, which are kept
        anyway. For the gradient of frequencies those before are needed in float32, too."""
        before = FLOAT if self.learned and number < FLOAT else 0
        return (number + before) * x.tokens.total * 2 * x.spec.width

    def step_bytes(self, x: PositionInput, policy: MemoryPolicy) -> int:
        """Of learned frequencies the angles, their sines and cosines, and the turns made of these: five numbers for
        each pair of channels. Turns that are not learned are kept from step to step."""
        blocks = 1 if policy.grad_checkpointing else x.spec.depth
        return blocks * 5 * FLOAT * x.tokens.total * x.spec.width // 2 if self.learned else 0
