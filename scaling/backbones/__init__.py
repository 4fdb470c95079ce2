"""Backbones: an image in, Features out. What every task may rely on, and how a recipe names a backbone.

The contract: a backbone is an nn.Module with
    width    D, channels of a feature
    stride   pixels from one feature to the next (the patch)
    depth    number of blocks
    any_size whether images may have any sides that the stride divides; else the recipe's alone
    mean, std what it takes pixels in [0, 1] for, by channel: who calls it normalises by them (build_backbone sets them)
    forward(image_BCHW, blocks=()) -> Features
Where images are of another size than the recipe's, learned positions are resampled and sines evaluated anew. A
task reads these and nothing else, never a backbone's type. What comes later fits behind it: one set of weights at
many patch sizes is a backbone whose stride is set between calls; packed images are a backbone that takes the packed
batch and returns one Features an image; other patch embeddings and position encodings are in patch_embed.py,
pos_embed.py.

To add a backbone: a row in scaling/model_specs.py, a file here, a line in FAMILIES, its arithmetic in scaling/costs.py.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from scaling.model_specs import SIZES, Size
from scaling.pixels import pixels_of, run_before
from scaling.recipe import TIMM, Recipe


class Features(NamedTuple):
    """What a backbone says of a batch of images. B batch, D width, h w = H / stride, W / stride."""

    grid_BDhw: Tensor  # one feature a patch; may be a strided view: heads that need it so call .contiguous()
    pooled_BD: Tensor  # one feature an image
    maps: tuple[Tensor, ...] = ()  # contiguous maps after the blocks asked for, the final norm on each


class Backbone(Protocol):
    """The contract, and what building one needs. Every backbone is an nn.Module as well."""

    width: int
    stride: int
    depth: int
    dynamic_img_size: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, image_BCHW: Tensor, blocks: Sequence[int] = ()) -> Features:
        """blocks: numbers from 0 up, ascending, of those after which maps are wanted."""

    def initialise(self, seed: int) -> None:
        """Draw every weight from the seed and its module's name."""

    @property
    def checkpoint_module(self) -> nn.Module:
        """The module whose keys are those of the public checkpoints."""

    def convert_state_dict(self, state: dict[str, Tensor], compat: str = "fixed") -> dict[str, Tensor]:
        """A public checkpoint's tensors, resampled to this patch and image; compat as in Recipe. Raises ConfigError
        where they are foreign."""


def _deit(size: Size, recipe: Recipe) -> Backbone:
    from scaling.backbones.deit import Deit

    return Deit(size, recipe.image, recipe.patch, **_options(recipe))


def _adventurer(size: Size, recipe: Recipe) -> Backbone:
    from scaling.backbones.adventurer import AdventurerBackbone

    return AdventurerBackbone(size, recipe.image, recipe.patch, flip=recipe.flip, **_options(recipe))


def _timm(size: Size, recipe: Recipe) -> Backbone:
    from scaling.backbones.timm_vit import TimmViT

    return TimmViT(recipe.backbone.removeprefix(TIMM), recipe.image, recipe.patch)


def _options(recipe: Recipe) -> dict[str, Any]:
    from scaling.backbones.pos_embed import Reference

    return {
        "drop_path": recipe.drop_path,
        "position": recipe.position,
        "extend": recipe.extend,
        "reference": Reference(*_first_grid(recipe)),
    }


def _first_grid(recipe: Recipe) -> tuple[int, int]:
    """The grid [tokens] and the patch [px] that a chain's sines are measured in: those of its first run with sines."""
    before = run_before(recipe)
    if before is not None and before.position == "sincos":
        return _first_grid(before)
    return recipe.image // recipe.patch, recipe.patch


FOREIGN = Size("timm", 0, 0, 0, 1)  # of a backbone that timm knows and this project does not
FAMILIES: dict[str, Callable[[Size, Recipe], Backbone]] = {
    "deit": _deit,
    "deit3": _deit,
    "adventurer": _adventurer,
    "timm": _timm,
}


def build_backbone(recipe: Recipe) -> Backbone:
    """The recipe's backbone, initialised from its seed; started from recipe.weights where it names any.

    Blocks start equal at every patch size: each module's weights come from its own stream of random numbers (seed and
    module name), so that a larger patch embedding does not shift what the blocks draw.
    """
    from scaling.backbones.checkpoint_io import load_weights, seeded

    size = SIZES.get(recipe.backbone, FOREIGN)
    with seeded(recipe.seed):
        backbone = FAMILIES[size.family](size, recipe)
    backbone.mean, backbone.std, _ = pixels_of(recipe)
    backbone.initialise(recipe.seed)
    if recipe.weights:
        load_weights(backbone, recipe.weights, recipe.compat)
    return backbone
