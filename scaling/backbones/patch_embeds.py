"""Patch embeddings by name. A new one is a subclass of PatchEmbed (patch_embed.py) and a line in PATCH_EMBEDS; its
fields are a part of the same kind in scaling/config/patch_embeds.py, its costs a line in EMBED_COSTS
(scaling/costs/registry.py).
"""

from collections.abc import Callable

from scaling.backbones.adaptive_embed import AdaptivePatchEmbed
from scaling.backbones.conv_stem import ConvStemPatchEmbed
from scaling.backbones.hierarchical_embed import HierarchicalPatchEmbed
from scaling.backbones.overlapping_embed import OverlappingPatchEmbed
from scaling.backbones.patch_embed import ConvPatchEmbed, ExtendedPatchEmbed, FlexiblePatchEmbed, PatchEmbed
from scaling.config.fields import check_name

PATCH_EMBEDS: dict[str, Callable[..., PatchEmbed]] = {
    "conv": ConvPatchEmbed,
    "extended": ExtendedPatchEmbed,
    "flexible": FlexiblePatchEmbed,
    "overlapping": OverlappingPatchEmbed,
    "conv_stem": ConvStemPatchEmbed,
    "hierarchical": HierarchicalPatchEmbed,
    "adaptive": AdaptivePatchEmbed,
}


def build_patch_embed(
    name: str, channels: int, width: int, image: int, patch_size: int, **options: object
) -> PatchEmbed:
    """The patch embedding of that name in PATCH_EMBEDS; options: its own."""
    check_name("patch embedding", name, PATCH_EMBEDS)
    return PATCH_EMBEDS[name](channels, width, image, patch_size, **options)
