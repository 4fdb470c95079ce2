"""Costs of Adventurer (scaling/backbones/adventurer.py). Letters as in scaling/costs/__init__.py.

Sources: Adventurer is arXiv 2410.07599, its Mamba-2 mixer arXiv 2405.21060. Each term of the memory names the tensor
and the operation that keeps it in torch on a CPU; tests compare the sums with the bytes that torch holds.
"""

from dataclasses import dataclass

from scaling.costs.base import FLOAT, Activations, Breakdown, MemoryPolicy, TokenCount, equal_blocks, stream_bytes
from scaling.model_specs import (
    CHUNKS,
    CONV_TAPS,
    EXPAND,
    MAX_KEPT_ELEMENTS,
    MIN_TILE_CHUNKS,
    TILE_ELEMENTS,
    ModelSpec,
    chunk_length,
)


@dataclass(frozen=True)
class AdventurerCosts:
    """Mamba-2 mixer and SwiGLU MLP, with a class token; the mixer reads the heading average as one more token."""

    extra_tokens: int = 1

    def parameters(self, spec: ModelSpec, tokens: TokenCount) -> Breakdown:
        d, m, inner, heads = spec.width, spec.mlp, _inner(spec), _inner(spec) // spec.head_dim
        mixer = d * _projected(spec)  # in_proj
        mixer += (CONV_TAPS + 1) * (inner + 2 * spec.state)  # depth-wise convolution of x, B, C, with bias
        mixer += 3 * heads + inner + inner * d  # A, D, dt bias; gated norm; out_proj
        block = mixer + 3 * d * m + 2 * m + d + 2 * d  # SwiGLU with biases, two RMSNorms
        positions = tokens.positions + tokens.extra if tokens.positions else 0
        return Breakdown(
            {
                "positions": positions * d,
                "class_token": tokens.extra * d,
                "blocks": spec.depth * block,
                "norm": d,
            }
        )

    def flops(self, spec: ModelSpec, tokens: TokenCount) -> Breakdown:
        d, inner, mixed = spec.width, _inner(spec), tokens.total + 1
        return Breakdown(
            {
                "projections": spec.depth * 2 * mixed * (d * _projected(spec) + inner * d),
                "scan": spec.depth * 2 * mixed * 3 * inner * spec.state,
                "convolution": spec.depth * 2 * mixed * CONV_TAPS * (inner + 2 * spec.state),
                "mlp": spec.depth * 2 * tokens.total * 3 * d * spec.mlp,
            }
        )

    def activations(self, spec: ModelSpec, tokens: TokenCount, policy: MemoryPolicy, images: int) -> Activations:
        mixed, number = tokens.total + 1, policy.number
        block = _around_mixer(spec, tokens.total, number)
        if not policy.fused_mixer:
            block += _split_mixer(spec, mixed, number)
        elif policy.grad_checkpointing or not 0 < images * mixed * _inner(spec) <= MAX_KEPT_ELEMENTS:
            block += _states_of_tiles(spec, mixed)
        else:  # the mixer keeps what it needs, and recomputes nothing
            block += _kept_mixer(spec, mixed, number)
        # The gradients of the block's output, of w3's input (which is freed), and of the outputs of SiLU and w2.
        backward = stream_bytes(spec, tokens) + number * tokens.total * 2 * spec.mlp
        return equal_blocks(spec, tokens, policy, block=block, backward=backward)


def _inner(spec: ModelSpec) -> int:
    return EXPAND * spec.width


def _projected(spec: ModelSpec) -> int:
    """Channels that in_proj makes: z, x, B, C, dt."""
    return 2 * _inner(spec) + 2 * spec.state + _inner(spec) // spec.head_dim


def _around_mixer(spec: ModelSpec, t: int, number: int) -> int:
    """Memory that one block keeps but for what is inside its mixer [bytes]."""
    d, m, inner, mixed = spec.width, spec.mlp, _inner(spec), t + 1
    total = 2 * FLOAT * t * (d + 1)  # inputs of the two norms; their inverse root mean squares
    total += number * mixed * d  # in_proj's input
    total += number * mixed * _projected(spec)  # the mixer's input
    total += number * mixed * inner  # the mixer's output, out_proj's input
    total += FLOAT * t * d  # the second norm's output, input of w1 and w2: in bf16 each has a copy of its own
    return total + number * t * 4 * m  # outputs of w1, SiLU and w2; their product, w3's input


def _states_of_tiles(spec: ModelSpec, mixed: int) -> int:
    """Memory that a mixer of many elements keeps in addition to its input and output [bytes]: the state before every
    tile but the first."""
    tiles = -(-mixed // max(MIN_TILE_CHUNKS * CHUNKS[0], TILE_ELEMENTS["cpu"] // _inner(spec)))
    return FLOAT * (tiles - 1) * spec.state * _inner(spec)


def _kept_mixer(spec: ModelSpec, mixed: int, number: int) -> int:
    """Memory that a mixer of few elements keeps in addition to its input and output, always float32 [bytes]."""
    inner = _inner(spec)
    channels, heads = inner + 2 * spec.state, inner // spec.head_dim
    chunk = chunk_length(mixed)
    filled = -(-mixed // chunk) * chunk
    total = filled * channels  # x, B and C, convolved and after SiLU, in whole chunks
    total += filled * inner  # outputs of the scan
    total += filled * chunk  # pairs of tokens of a chunk
    total += mixed * 6 * heads  # step sizes and decays
    if mixed > chunk:
        total += (filled // chunk + 1) * spec.state * inner  # states as they enter chunks, and after the last
    if number < FLOAT:
        total += mixed * inner  # z, which in float32 is a view of the input
    return FLOAT * total


def _split_mixer(spec: ModelSpec, mixed: int, number: int) -> int:
    """Memory that a mixer of several operations (mix_turned) keeps in addition to its input and output, always float32
    [bytes]. Decays are taken to factor within chunks, as they do at the start of training."""
    inner, state = _inner(spec), spec.state
    channels, heads = inner + 2 * state, inner // spec.head_dim
    chunk = chunk_length(mixed)
    count = -(-mixed // chunk)
    total = (2 * mixed + CONV_TAPS - 1) * channels  # x, B, C, padded; convolved
    total += 3 * count * chunk * inner  # x; inputs and outputs of the scan before they are scaled
    total += 4 * mixed * inner  # outputs of the scan with the skip; SiLU of z; their product, and normalised
    total += 2 * count * chunk * state + count * chunk**2  # B and C turned; pairs of tokens of a chunk
    total += 11 * mixed * heads + mixed  # step sizes and decays, some in float64; inverse root mean squares
    if count > 1:
        total += 3 * count * state * inner  # inflow of chunks; states before them, as they were and as they enter
    if number < FLOAT:
        total += mixed * _projected(spec) * (FLOAT - number) // FLOAT  # the input in float32, in place of its own
    return FLOAT * total
