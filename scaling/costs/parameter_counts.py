"""Learned numbers of backbones and whole models, by arithmetic. Letters as in costs.py."""

from scaling.costs.flop_counts import CONV, EXPAND
from scaling.costs.heads import cascade_parameters, upernet_parameters
from scaling.costs.token_counts import tokens
from scaling.model_specs import SIZES, Size
from scaling.recipe import Recipe


def parameters(backbone: str, image: int, patch: int, classes: int, positions: bool = True) -> int:
    """Learned numbers of a classifier [1]. backbone: a name of SIZES; image, patch: sides [px]; classes 0: no head.
    positions: with those of the position embedding, the only ones that grow with the image."""
    size, length = SIZES[backbone], tokens(image, patch)
    head = size.width * classes + classes
    return _backbone(size, patch) + head + (_positions(size, length) if positions else 0)


def recipe_parameters(recipe: Recipe) -> int:
    """Learned numbers of a recipe's model, head included, any task [1]; fixed positions are not learned. 0: not known,
    for timm's backbones."""
    size = SIZES.get(recipe.backbone)
    if size is None:
        return 0
    head = _head(recipe, size.width)
    return _backbone(size, recipe.extend or recipe.patch) + position_parameters(recipe) + head


def position_parameters(recipe: Recipe) -> int:
    """Those of them that are a table of learned positions, which alone grows with the image [1]."""
    size = SIZES.get(recipe.backbone)
    if size is None or recipe.position != "learned":
        return 0
    return _positions(size, tokens(recipe.image, recipe.patch))


def _head(recipe: Recipe, width: int) -> int:
    of_maps = {"upernet": upernet_parameters, "cascade": cascade_parameters}
    if recipe.head in of_maps:
        return of_maps[recipe.head](width, recipe.patch, recipe.classes, recipe.head_channels)
    return width * recipe.classes + recipe.classes  # an image's summary, or every token


def _positions(size: Size, length: int) -> int:
    """In DeiT III the class token has none."""
    return (length if size.family == "deit3" else length + 1) * size.width


def _backbone(size: Size, patch: int) -> int:
    """Embedding, class token, blocks and the last norm; without positions."""
    norm = size.width if size.family == "adventurer" else 2 * size.width  # RMSNorm has no bias, LayerNorm has
    return 3 * patch * patch * size.width + size.width + size.width + size.depth * block_parameters(size) + norm


def block_parameters(size: Size) -> int:
    """Learned numbers of one block [1]."""
    d, m = size.width, size.mlp
    if size.family == "adventurer":
        inner = EXPAND * d
        heads = inner // size.head_dim
        mixer = d * (2 * inner + 2 * size.state + heads)  # in_proj: z, x, B, C, dt
        mixer += (CONV + 1) * (inner + 2 * size.state)  # depth-wise convolution of x, B, C, with bias
        mixer += 3 * heads + inner + inner * d  # A, D, dt bias; gated norm; out_proj
        return mixer + 3 * d * m + 2 * m + d + 2 * d  # SwiGLU with biases, two RMSNorms
    layer_scale = 2 * d if size.family == "deit3" else 0
    return 4 * d * d + 4 * d + 2 * d * m + m + d + 4 * d + layer_scale  # attention, MLP, two LayerNorms
