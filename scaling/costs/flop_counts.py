"""FLOPs by part, of backbones and whole models, by arithmetic. Letters and convention as in costs.py."""

from typing import NamedTuple

from scaling.costs.heads import cascade_flops, upernet_flops
from scaling.costs.token_counts import embedded_tokens, recipe_sides, recipe_tokens, tokens
from scaling.model_specs import SIZES, Size
from scaling.recipe import Recipe

CONV = 4  # K, taps of Mamba-2's depth-wise convolution
EXPAND = 2  # inner width over width


class Flops(NamedTuple):
    """FLOPs of one image's forward pass, by part; what a model does not have is 0."""

    embedding: int = 0  # pixels to tokens
    projections: int = 0  # in front of and behind attention or scan
    attention: int = 0  # the two products with the matrix of all pairs of tokens
    scan: int = 0  # the recurrence
    convolution: int = 0  # the mixer's, along the tokens
    mlp: int = 0
    head: int = 0  # the classifier, or all that is no backbone

    @property
    def forward(self) -> int:
        """[FLOPs], of one image."""
        return sum(self)

    @property
    def backward(self) -> int:
        """[FLOPs]: of a product, gradients of both factors."""
        return 2 * self.forward

    @property
    def training(self) -> int:
        """Forward and backward [FLOPs], without recomputing."""
        return 3 * self.forward


def flops_by_part(backbone: str, image: int, patch: int, classes: int) -> Flops:
    """Of one image through a classifier. backbone: a name of SIZES; image, patch: sides [px]; classes 0: no head."""
    size, length = SIZES[backbone], tokens(image, patch)
    return _backbone(size, length, _embedding(size, patch, length))._replace(head=2 * size.width * classes)


def flops(backbone: str, image: int, patch: int, classes: int) -> int:
    """FLOPs of one image's forward pass through a classifier. Arguments as those of flops_by_part."""
    return flops_by_part(backbone, image, patch, classes).forward


def vit_flops(image: int, patch: int, width: int, depth: int, classes: int) -> int:
    """FLOPs of one image's forward pass through a plain ViT (MLP of 4 x width). image, patch [px]."""
    length, size = tokens(image, patch), Size("deit", width, depth, 4 * width, 64)
    return _backbone(size, length, _embedding(size, patch, length)).forward + 2 * width * classes


def recipe_flops_by_part(recipe: Recipe) -> Flops:
    """Of one training image of a recipe, any task; the head as in detecting (1,000 proposals, 100 detections). All 0:
    not known, for timm's backbones."""
    size = SIZES.get(recipe.backbone)
    if size is None:
        return Flops()
    embedding = _embedding(size, recipe.extend or recipe.patch, embedded_tokens(recipe))
    return _backbone(size, recipe_tokens(recipe), embedding)._replace(head=_head(recipe, size.width))


def recipe_flops(recipe: Recipe) -> int:
    """FLOPs of one image's forward pass, head included; in segmentation of one crop. 0: not known."""
    return recipe_flops_by_part(recipe).forward


def recipe_training_flops(recipe: Recipe, train_images: int) -> float:
    """FLOPs of a whole training run: three forward passes an image, train_images an epoch. Evaluation left out."""
    images = recipe.steps * recipe.batch or train_images * recipe.epochs
    return float(recipe_flops_by_part(recipe).training) * images


def _embedding(size: Size, patch: int, length: int) -> int:
    return 2 * 3 * patch * patch * size.width * length


def _backbone(size: Size, length: int, embedding: int) -> Flops:
    """length: patches."""
    d, m, depth = size.width, size.mlp, size.depth
    if size.family == "adventurer":
        t, inner = length + 2, EXPAND * d  # the mixer sees the class token and the heading average too
        into = 2 * inner + 2 * size.state + inner // size.head_dim  # z, x, B, C, dt
        return Flops(
            embedding=embedding,
            projections=depth * 2 * t * (d * into + inner * d),
            scan=depth * 2 * t * 3 * inner * size.state,
            convolution=depth * 2 * t * CONV * (inner + 2 * size.state),
            mlp=depth * 2 * (length + 1) * 3 * d * m,
        )
    t = length + 1
    return Flops(
        embedding=embedding,
        projections=depth * 2 * t * 4 * d * d,
        attention=depth * 2 * 2 * t * t * d,
        mlp=depth * 2 * t * 2 * d * m,
    )


def _head(recipe: Recipe, width: int) -> int:
    if recipe.task == "classify":
        return 2 * width * recipe.classes
    if recipe.task == "detect":
        return cascade_flops(width, recipe_sides(recipe), recipe.patch, recipe.classes, recipe.head_channels)
    if recipe.head == "upernet":
        return upernet_flops(width, recipe.image, recipe.patch, recipe.classes, recipe.head_channels)
    return 2 * width * recipe.classes * recipe_tokens(recipe)
