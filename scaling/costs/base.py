"""Components of the cost of a model: token counts, named parts, and the protocols of families, embeddings and heads.

A family of backbones has one file with one class that implements CostModel, and an entry in COST_MODELS
(scaling/costs/registry.py); likewise a patch embedding has EmbedCosts and a head HeadCosts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from scaling.model_specs import ModelSpec

FLOAT = 4  # bytes of a float32 number


class TokenCount(NamedTuple):
    """Tokens of one image: all that the cost of a backbone depends on besides its ModelSpec [tokens]."""

    image: int  # L, image tokens in the blocks; those that remain where some are dropped
    extra: int  # class token and the like, in the blocks
    positions: int  # learned vectors of positions of image tokens; 0: positions are fixed

    @property
    def total(self) -> int:
        """T, all tokens between two blocks."""
        return self.image + self.extra


@dataclass(frozen=True)
class Breakdown:
    """A cost by named parts. breakdown["mlp"] is the cost of one part, 0 where the model has none of that name."""

    parts: Mapping[str, int]

    def __getitem__(self, part: str) -> int:
        return self.parts.get(part, 0)

    @property
    def total(self) -> int:
        return sum(self.parts.values())


class MemoryPolicy(NamedTuple):
    """Activations that a training step keeps for its backward pass."""

    grad_checkpointing: bool = False  # blocks keep their inputs and are computed again
    flash: bool = True  # attention does not keep its matrix, as the fused kernels of torch
    number: int = FLOAT  # bytes of an activation; 2: bf16-mixed, where weights, residual stream and losses are float32
    fused_mixer: bool = True  # the mixer of Adventurer is one operation, which keeps little


class Activations(NamedTuple):
    """Memory of all blocks of a backbone, of one image [bytes]."""

    kept: int  # by the blocks when the forward pass is done
    recomputed: int  # in addition while one block is computed again; 0 without gradient checkpointing
    backward: int  # in addition at the peak of the backward pass through the last block


class CostModel(Protocol):
    """Arithmetic of one family of backbones, patch embedding left out. spec: a row of MODEL_SPECS; tokens: of one
    image. A family whose blocks see different numbers of tokens derives them from spec and tokens."""

    @property
    def extra_tokens(self) -> int:
        """Tokens in the blocks that are not of the image, such as the class token."""

    def parameters(self, spec: ModelSpec, tokens: TokenCount) -> Breakdown:
        """Learned numbers [1]; parts: "positions", "blocks", and any others."""

    def flops(self, spec: ModelSpec, tokens: TokenCount) -> Breakdown:
        """FLOPs of one image's forward pass by parts of any names. Convention as in scaling/costs/__init__.py."""

    def activations(self, spec: ModelSpec, tokens: TokenCount, policy: MemoryPolicy, images: int) -> Activations:
        """Memory of the blocks. images: in a micro-batch; 0: many."""


class EmbedInput(NamedTuple):
    """All that the cost of a patch embedding depends on."""

    width: int  # D, of the backbone
    kernel: int  # side of the patch that is embedded [px]
    learned: int  # side of the learned kernel, which may be resized to the patch [px]
    tokens: (
        int  # patches of side `kernel` that tile the image: its tokens before any are interpolated, dropped or merged
    )
    norm: bool = False  # whether a LayerNorm of the tokens belongs to it
    scales: int = 1  # kernels of a hierarchical embedding, sizes of patches of an adaptive one


class EmbedCosts(Protocol):
    """Arithmetic of one patch embedding, of one image."""

    def parameters(self, x: EmbedInput) -> int:
        """Learned numbers [1]."""

    def flops(self, x: EmbedInput) -> int:
        """FLOPs of the forward pass."""

    def activations(self, x: EmbedInput, number: int) -> int:
        """Memory that a training step keeps for the backward pass, without the pixels that the first convolution reads
        [bytes]. number: bytes of an activation."""


class PositionInput(NamedTuple):
    """All that the cost of a position encoding depends on."""

    spec: ModelSpec
    tokens: TokenCount
    side: int  # of the grid that it is built for [tokens]
    longest: int = 0  # vectors of a table along an axis; 0: it has none


class PositionCosts(Protocol):
    """Arithmetic of one position encoding. Its work is element-wise, or that of a step whatever the number of images:
    its FLOPs are not counted."""

    @property
    def has_table(self) -> bool:
        """Whether positions are a table of learned vectors; these are counted by the CostModel."""

    @property
    def keeps_matrix(self) -> bool:
        """Whether attention keeps its matrix, because a bias of the logits is learned."""

    @property
    def splits_mixer(self) -> bool:
        """Whether the mixer of Adventurer is several operations, because the encoding acts between them."""

    def parameters(self, x: PositionInput) -> int:
        """Learned numbers beside that table [1]."""

    def block_bytes(self, x: PositionInput, number: int) -> int:
        """Memory that a block keeps for the backward pass in addition, of one image [bytes]. number: bytes of an
        activation."""

    def step_bytes(self, x: PositionInput, policy: MemoryPolicy) -> int:
        """Memory of a training step in addition, whatever the number of images [bytes]."""


class HeadInput(NamedTuple):
    """All that the cost of a head depends on."""

    spec: ModelSpec  # of the backbone
    tokens: TokenCount
    patch: int  # stride of the backbone's map [px]
    built_for: int  # stride that the head is built for; another one only where the patch changes between steps [px]
    sides: tuple[int, int]  # height and width of the image [px]
    classes: int
    channels: int  # hidden channels of the head
    rois: int = 0  # regions sampled from an image in training, in detection

    @property
    def pixels(self) -> int:
        """Pixels of the image."""
        return self.sides[0] * self.sides[1]

    @property
    def cells(self) -> int:
        """Cells of the backbone's map."""
        return (self.sides[0] // self.patch) * (self.sides[1] // self.patch)


class HeadCosts(Protocol):
    """Arithmetic of one head, of one image."""

    def parameters(self, x: HeadInput) -> int:
        """Learned numbers [1]."""

    def flops(self, x: HeadInput) -> int:
        """FLOPs of the forward pass in inference."""

    def activations(self, x: HeadInput, number: int) -> int:
        """Memory that a training step keeps for the backward pass, loss included, without the residual stream that the
        last norm of the backbone reads [bytes]. number: bytes of an activation."""

    def loss_backward(self, x: HeadInput) -> int:
        """Additional memory of the gradient of the loss at its peak [bytes]."""


def stream_bytes(spec: ModelSpec, tokens: TokenCount) -> int:
    """The residual stream between two blocks, always float32 [bytes]."""
    return FLOAT * tokens.total * spec.width


def equal_blocks(
    spec: ModelSpec, tokens: TokenCount, policy: MemoryPolicy, *, block: int, backward: int
) -> Activations:
    """Activations of spec.depth blocks that are all alike. block: what one of them keeps; backward: as in
    Activations [bytes]."""
    if not policy.grad_checkpointing:
        return Activations(spec.depth * block, 0, backward)
    stream = stream_bytes(spec, tokens)
    return Activations(spec.depth * stream, block - stream, backward)
