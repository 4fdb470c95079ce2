"""What autograd keeps of embedding and blocks until gradients come, by arithmetic. Letters as in costs.py.

Each term names the tensor and the operation that keeps it, as torch's CPU does; tests hold them to the bytes that torch
holds. A number is 4 bytes; under bf16-mixed 2, but for the stream between blocks and what norms see, which stay
float32.
"""

from scaling.costs.flop_counts import CONV, EXPAND
from scaling.costs.token_counts import recipe_sides, recipe_tokens
from scaling.model_specs import CHUNKS, KEPT, LEAST_CHUNKS, STRETCH, Size, chunk_length
from scaling.recipe import Recipe

FLOAT = 4  # bytes of float32


def image_bytes(recipe: Recipe, number: int) -> int:
    """The image: its bytes, and its numbers for the gradient of the embedding's kernel [bytes]."""
    height, width = recipe_sides(recipe)
    return 3 * height * width * (1 + number)


def stream_bytes(recipe: Recipe, size: Size) -> int:
    """An image's tokens between two blocks [bytes], float32 always."""
    return FLOAT * (recipe_tokens(recipe) + 1) * size.width


def block_bytes(recipe: Recipe, size: Size, flash: bool, number: int, at_once: int) -> int:
    """What one block keeps of an image [bytes]. at_once: images in a micro-batch; 0: many. Others:
    training_memory.py."""
    t = recipe_tokens(recipe) + 1
    if size.family == "adventurer":
        return _adventurer_block(size, t, number, at_once)
    d, m, heads = size.width, size.mlp, size.width // size.head_dim
    total = 2 * FLOAT * t * (d + 2)  # what the two norms see; their means and deviations
    total += number * t * 2 * d  # what the norms give: qkv's and fc1's input
    total += (number if flash else FLOAT) * t * 3 * d  # queries, keys, values; products without flash are float32
    total += number * t * d  # attention's output, the projection's input
    total += number * t * 2 * m  # fc1's output, which GELU sees; GELU's, which fc2 sees
    if size.family == "deit3":
        total += number * t * 2 * d  # outputs of projection and fc2, which layer scales multiply
    return total + (FLOAT * heads * t if flash else FLOAT * heads * t * t)  # sums of exponents, or softmax's matrix


def _adventurer_block(size: Size, t: int, number: int, at_once: int) -> int:
    d, m, inner = size.width, size.mlp, EXPAND * size.width
    mixed = t + 1  # tokens of the mixer: the heading average too
    projected = 2 * inner + 2 * size.state + inner // size.head_dim  # z, x, B, C, dt
    total = 2 * FLOAT * t * (d + 1)  # what the two norms see; their rates
    total += number * mixed * d  # in_proj's input
    total += number * mixed * projected  # the mixer's input
    total += number * mixed * inner  # the mixer's output, out_proj's input
    total += FLOAT * t * d  # the second norm's output, w1's and w2's input: in bf16 each has a copy of its own
    total += number * t * 4 * m  # outputs of w1, SiLU and w2; their product, w3's input
    if at_once and at_once * mixed * inner <= KEPT:
        return total + _kept_mixer(size, mixed, number)
    stretches = -(-mixed // max(LEAST_CHUNKS * CHUNKS[0], STRETCH["cpu"] // inner))
    return total + FLOAT * (stretches - 1) * size.state * inner  # the state before every stretch but the first


def held_bytes(recipe: Recipe, size: Size, number: int, at_once: int) -> int:
    """What a block holds of an image although it is to be computed again [bytes]: a small mixer's numbers and its
    input, which are attributes of an autograd.Function and no tensors that torch's checkpoint could drop."""
    mixed, inner = recipe_tokens(recipe) + 2, EXPAND * size.width
    if size.family != "adventurer" or at_once * mixed * inner > KEPT:
        return 0
    return _kept_mixer(size, mixed, number) + number * mixed * (2 * inner + 2 * size.state + inner // size.head_dim)


def _kept_mixer(size: Size, mixed: int, number: int) -> int:
    """What a small mixer keeps beside its input and output [bytes], float32 always."""
    inner = EXPAND * size.width
    channels, heads = inner + 2 * size.state, inner // size.head_dim
    chunk = chunk_length(mixed)
    filled = -(-mixed // chunk) * chunk
    total = (mixed + CONV - 1) * channels + 2 * mixed * channels  # x, B, C; convolved; after SiLU
    total += 2 * filled * inner + mixed * inner  # inputs of the scan, scaled; its outputs without and with the skip
    total += filled * chunk  # pairs of tokens of a chunk
    total += mixed * 6 * heads  # steps and decays
    if mixed > chunk:
        total += (2 * filled // chunk + 1) * size.state * inner  # states before chunks, as they were and as they enter
    if number < FLOAT:
        total += mixed * inner  # z, which in float32 is a view of the input
    return FLOAT * total


def backward_bytes(recipe: Recipe, size: Size, flash: bool, number: int) -> int:
    """What the backward of the last block has beside all that blocks keep, at its peak, of an image [bytes]."""
    t, d, m = recipe_tokens(recipe) + 1, size.width, size.mlp
    stream = FLOAT * t * d  # the gradient of the block's output
    if size.family == "adventurer":
        return stream + number * t * 2 * m  # of w3's input (which is gone), SiLU's and w2's output
    mlp = stream + number * t * m  # of fc2's input
    if flash:
        return mlp
    # Of softmax's output and input, of values and the stream; gone: what the MLP and the projection kept.
    heads = d // size.head_dim
    pairs = stream + FLOAT * t * (2 * heads * t + d) - number * t * (2 * m + 2 * d) - FLOAT * t * d
    return max(mlp, pairs)
