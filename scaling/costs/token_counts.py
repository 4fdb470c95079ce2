"""Image sides, tokens and sampled regions that follow from a recipe. Letters as in scaling/costs/__init__.py."""

import math

from scaling.config.embed_shapes import most_leaves
from scaling.config.experiment import ExperimentConfig
from scaling.config.patch_embeds import AdaptivePatchEmbed, HierarchicalPatchEmbed, OverlappingPatchEmbed
from scaling.config.patch_size import check_patch
from scaling.costs.base import EmbedInput, TokenCount
from scaling.model_specs import FPN_COARSEST, MAX_ROIS

PHOTOGRAPH = (3, 4)  # height to width that costs assume for images that keep their shape, as most of COCO's have it


def tokens(image: int, patch: int) -> int:
    """Image tokens of a square image. image, patch: sides [px]. Raises ConfigError unless patch divides image."""
    check_patch(image, patch)
    return (image // patch) ** 2


def size_multiple(config: ExperimentConfig) -> int:
    """Divisor of the sides of a model's input [px]: a common multiple of the patch (the coarsest where there are
    several sizes), of the patch that is embedded, and in detection of the coarsest map of the pyramid, so that a cell
    is exactly a stride, as anchors suppose."""
    embed = config.model.patch_embed
    return math.lcm(
        embed.coarsest if isinstance(embed, AdaptivePatchEmbed) else embed.patch_size,
        config.model.embed_patch_size or 1,
        FPN_COARSEST if config.task.kind == "detect" else 1,
    )


def padded_size(config: ExperimentConfig, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width [px], each rounded up to size_multiple."""
    step = size_multiple(config)
    return -(-size[0] // step) * step, -(-size[1] // step) * step


def recipe_sides(config: ExperimentConfig) -> tuple[int, int]:
    """Height and width of a training image in the model [px]: a square of img_size, but in detection on whole
    images, which keep their shape. The embedded data set is square; photographs are assumed to have the shape
    PHOTOGRAPH. Padding to the other images of a batch is not counted."""
    return (
        padded_size(config, unpadded_sides(config))
        if config.task.kind == "detect"
        else (config.model.img_size, config.model.img_size)
    )


def assumes_photographs(config: ExperimentConfig) -> bool:
    """Whether costs assume the shape PHOTOGRAPH, as the images themselves are not looked at."""
    return config.task.kind == "detect" and config.task.augment != "lsj" and config.data.dataset != "shapes"


def unpadded_sides(config: ExperimentConfig) -> tuple[int, int]:
    """Height and width of a training image in detection as scaling/data/transforms/detection.py crops or scales it,
    before padding [px]."""
    if config.task.augment == "lsj":
        return config.model.img_size, config.model.img_size
    short, long = PHOTOGRAPH if assumes_photographs(config) else (1, 1)
    factor = min(
        (config.detection.resize_short or config.model.img_size) / short, (config.detection.max_long or math.inf) / long
    )
    return max(1, int(short * factor + 0.5)), max(1, int(long * factor + 0.5))


def recipe_tokens(config: ExperimentConfig) -> int:
    """Image tokens of a training image [tokens], as most_tokens."""
    return most_tokens(config, recipe_sides(config))


def most_tokens(config: ExperimentConfig, sides: tuple[int, int]) -> int:
    """Image tokens of an image of this height and width [px]; of an adaptive embedding the most, which are those of
    every image without flat parts where split_threshold is 0."""
    embed = config.model.patch_embed
    grid = sides[0] // embed.patch_size, sides[1] // embed.patch_size
    return (
        most_leaves(grid, embed.levels, embed.leaf_share) if isinstance(embed, AdaptivePatchEmbed) else math.prod(grid)
    )


def tokens_follow_images(config: ExperimentConfig) -> bool:
    """Whether nobody knows the number of tokens before the images: splits of an adaptive embedding end at a
    threshold."""
    embed = config.model.patch_embed
    return isinstance(embed, AdaptivePatchEmbed) and embed.split_threshold > 0


def token_count(config: ExperimentConfig, extra: int, learned: bool) -> TokenCount:
    """Token counts of a training image. extra: tokens of the backbone that are not of the image
    (CostModel.extra_tokens); learned: whether positions are."""
    positions = config.model.position_grid**2 if learned else 0
    return TokenCount(recipe_tokens(config), extra, positions)


def embed_input(config: ExperimentConfig, width: int) -> EmbedInput:
    """Input of the patch embedding, for a training image. width: of the backbone."""
    (height, across), embed = recipe_sides(config), config.model.patch_embed
    stride = config.model.embed_patch_size or config.model.patch_size
    kernel = embed.kernel if isinstance(embed, OverlappingPatchEmbed) else stride
    return EmbedInput(
        width,
        kernel=kernel,
        learned=embed.coarsest if isinstance(embed, AdaptivePatchEmbed) else config.model.kernel_size or kernel,
        tokens=(height // stride) * (across // stride),
        norm=isinstance(embed, OverlappingPatchEmbed) and embed.embed_norm,
        scales=_sizes(config),
    )


def _sizes(config: ExperimentConfig) -> int:
    embed = config.model.patch_embed
    if isinstance(embed, AdaptivePatchEmbed):
        return embed.levels
    return embed.scales if isinstance(embed, HierarchicalPatchEmbed) else 1


def sampled_rois(config: ExperimentConfig) -> int:
    """Regions that detection samples from an image in training [1]: as many as its shorter side has px, at most
    MAX_ROIS, as small images hold fewer that differ."""
    return min(
        MAX_ROIS,
        config.model.img_size
        if config.task.augment == "lsj"
        else config.detection.resize_short or config.model.img_size,
    )
