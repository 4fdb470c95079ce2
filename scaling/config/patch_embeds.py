"""Patch embeddings: the parts of a configuration that state how pixels become tokens. Their modules are in
scaling/backbones/patch_embeds.py under the same names.
"""

from dataclasses import dataclass
from typing import ClassVar

from scaling.config.embed_shapes import leaf_sides, overlapping_kernel
from scaling.config.fields import Bounds, check, check_fields, config_field
from scaling.config.patch_size import check_patch

RESIZE_METHODS = ("pi", "vanilla", "norm", "area")  # of kernels (scaling/backbones/resampling.py)
SPLITS = ("variance", "edges", "turned")  # scores of quadtrees (scaling/backbones/quadtree.py)
RELEASED = "released"
INITS = (RELEASED, "timm", "lecun", "xavier", "he")  # of kernels (scaling/backbones/embed_init.py)
EMBED_INIT = (
    "initial weights of the kernel: released (DeiT as timm, Adventurer lecun), timm (torch's own for a convolution), "
    "lecun (tokens have the variance of pixels at every patch size), xavier (of the flattened patch, as MAE; tokens of "
    "small patches are small), he"
)


@dataclass(frozen=True, kw_only=True)
class ConvPatchEmbed:
    """A convolution whose kernel and stride are the patch."""

    kind: ClassVar[str] = "conv"
    patch_size: int = config_field("side of a square patch; divides the image", 4, unit="px", common=True)
    embed_init: str = config_field(EMBED_INIT, RELEASED, choices=INITS)

    def __post_init__(self) -> None:
        check_fields(self)

    def check_image(self, img_size: int) -> None:
        check_patch(img_size, self.patch_size)


@dataclass(frozen=True, kw_only=True)
class ExtendedPatchEmbed:
    """Pixels are embedded at a larger patch, and the tokens interpolated to as many as patch_size gives: longer
    sequences without new pixels (Table 5 of arXiv 2502.03738)."""

    kind: ClassVar[str] = "extended"
    patch_size: int = config_field("side of a square patch; divides the image", 4, unit="px", common=True)
    embed_patch_size: int = config_field(
        "kernel of the patch embedding, whose tokens are interpolated to as many as patch_size gives (Table 5 of arXiv "
        "2502.03738)",
        16,
        unit="px",
    )

    def __post_init__(self) -> None:
        check_fields(self)
        rule = f"is below patch_size {self.patch_size}: a sequence is extended from a larger patch, such as 16"
        check(self.embed_patch_size >= self.patch_size, "embed_patch_size", self.embed_patch_size, rule)

    def check_image(self, img_size: int) -> None:
        check_patch(img_size, self.patch_size)
        check_patch(img_size, self.embed_patch_size)


@dataclass(frozen=True, kw_only=True)
class FlexiblePatchEmbed:
    """One learned kernel that is resized to the patch size of every call (FlexiViT, arXiv 2212.08013). patch_size is
    the finest patch that training draws: memory and the micro-batch are those of its tokens."""

    kind: ClassVar[str] = "flexible"
    any_patch: ClassVar[bool] = True
    patch_size: int = config_field("side of a square patch; divides the image", 4, unit="px", common=True)
    kernel_size: int = config_field(
        "side of the learned kernel, which is resized to every patch size", 32, unit="px", bounds=Bounds(at_least=1)
    )
    resize: str = config_field(
        "how the kernel is resized: pi (tokens of enlarged patches stay the same), vanilla (like an image), area (by "
        "the ratio of areas), norm (norm of each filter kept)",
        "pi",
        choices=RESIZE_METHODS,
    )
    antialias: bool = config_field(
        "whether all weights of the kernel count where it is reduced; false: as weights released with the paper need",
        True,
    )

    def __post_init__(self) -> None:
        check_fields(self)

    def check_image(self, img_size: int) -> None:
        check_patch(img_size, self.patch_size)


@dataclass(frozen=True, kw_only=True)
class OverlappingPatchEmbed:
    """A convolution whose kernel is larger than its stride, which is the patch: neighbouring patches share pixels (PVT
    v2, arXiv 2106.13797). Beyond the border are zeros, the mean colour."""

    kind: ClassVar[str] = "overlapping"
    patch_size: int = config_field("side of a square patch; divides the image", 4, unit="px", common=True)
    embed_init: str = config_field(EMBED_INIT, RELEASED, choices=INITS)
    overlap_kernel: int | None = config_field(
        "side of the kernel, patch_size or more; none: twice patch_size less 1, at least 3",
        None,
        unit="px",
        bounds=Bounds(at_least=1),
    )
    embed_norm: bool = config_field("whether a LayerNorm follows the convolution, as in PVT v2", True)

    def __post_init__(self) -> None:
        check_fields(self)
        rule = f"is below patch_size {self.patch_size}: pixels between patches would never be seen"
        check(self.kernel >= self.patch_size, "overlap_kernel", self.kernel, rule)
        centred = self.patch_size > 1 or self.kernel % 2 == 1
        check(centred, "overlap_kernel", self.kernel, "must be odd at patch 1, so that it has a centre")

    @property
    def kernel(self) -> int:
        """Side of the kernel [px]."""
        return overlapping_kernel(self.patch_size, self.overlap_kernel)

    def check_image(self, img_size: int) -> None:
        check_patch(img_size, self.patch_size)


@dataclass(frozen=True, kw_only=True)
class ConvStemPatchEmbed:
    """Early convolutions (arXiv 2106.14881): 3 x 3 convolutions of stride 2, channels doubling, one for each factor 2
    of the patch (one of stride 1 at patch 1, and one whose kernel is its stride for each other prime factor), each with
    LayerNorm over the channels and ReLU; then one of 1 x 1.

    Departs: LayerNorm in place of BatchNorm, whose statistics would depend on the micro-batch; all blocks of the
    backbone are kept, where the paper drops one for equal FLOPs."""

    kind: ClassVar[str] = "conv_stem"
    patch_size: int = config_field("side of a square patch; divides the image", 4, unit="px", common=True)

    def __post_init__(self) -> None:
        check_fields(self)

    def check_image(self, img_size: int) -> None:
        check_patch(img_size, self.patch_size)


@dataclass(frozen=True, kw_only=True)
class HierarchicalPatchEmbed:
    """Several scales around each patch in one token: kernels of 1, 2, 4 ... times the patch, all at the stride of a
    patch, half of the channels for the smallest (the cross-scale embedding layer of CrossFormer, arXiv 2108.00154)."""

    kind: ClassVar[str] = "hierarchical"
    patch_size: int = config_field("side of a square patch; divides the image", 4, unit="px", common=True)
    scales: int = config_field(
        "number of kernels; each is twice as large as the one before, the first is the patch",
        3,
        bounds=Bounds(at_least=1, at_most=4),
    )

    def __post_init__(self) -> None:
        check_fields(self)

    def check_image(self, img_size: int) -> None:
        check_patch(img_size, self.patch_size)


@dataclass(frozen=True, kw_only=True)
class AdaptivePatchEmbed:
    """Patches of several sizes, small where there is detail: the leaves of a quadtree of each image (scaling/backbones/
    quadtree.py), all embedded by one kernel that is resized to them. patch_size is the side of the finest leaves.

    Source: the idea of APF (arXiv 2404.09707); the rule of the split is ours."""

    kind: ClassVar[str] = "adaptive"
    patch_size: int = config_field("side of a square patch; divides the image", 4, unit="px", common=True)
    coarsest_leaf: int | None = config_field(
        "side of the coarsest patches of an adaptive embedding, a power of 2 times patch_size, and of the learned "
        "kernel; none: four times patch_size",
        None,
        unit="px",
        bounds=Bounds(at_least=1),
    )
    leaf_share: float = config_field(
        "most patches of an image in an adaptive embedding, as a share of those of patch_size; 0.25: as many as there "
        "are of twice the side",
        0.25,
        bounds=Bounds(above=0, at_most=1),
    )
    split_threshold: float = config_field(
        "score up to which a patch is not split, whatever is left of leaf_share; 0: the score of a flat patch",
        0.0,
        bounds=Bounds(at_least=0),
    )
    split_by: str = config_field(
        "score of a patch: variance (squared error of its normalised pixels about their mean, summed), edges (squared "
        "gradients, summed), or turned (variance at the same place of the image turned by 180 degrees: a control with "
        "as many patches of each size, at places that do not follow the content)",
        "variance",
        choices=SPLITS,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        times, name, side = self.coarsest // max(self.patch_size, 1), "coarsest_leaf", self.coarsest
        power = self.patch_size >= 1 and self.coarsest == times * self.patch_size and times & (times - 1) == 0
        examples = ", ".join(str(2**n * self.patch_size) for n in range(1, 4))
        rule = f"must be patch_size {self.patch_size} times 2, 4, 8 ..., such as {examples}"
        check(power and times > 1, name, side, rule)
        rule = f"allows fewer patches than an image has of {side} px; at least {times**-2:g}, or a larger coarsest_leaf"
        check(self.leaf_share >= times**-2, "leaf_share", self.leaf_share, rule)

    @property
    def coarsest(self) -> int:
        """Side of the coarsest leaves [px]."""
        return 4 * self.patch_size if self.coarsest_leaf is None else self.coarsest_leaf

    @property
    def levels(self) -> int:
        """Sizes of leaves."""
        return len(leaf_sides(self.patch_size, self.coarsest))

    def check_image(self, img_size: int) -> None:
        check_patch(img_size, self.patch_size)
        rule = f"does not divide a {img_size} px image; {self.patch_size} times a power of 2 that does, or other images"
        check(img_size % self.coarsest == 0, "coarsest_leaf", self.coarsest, rule)


PatchEmbedConfig = (
    ConvPatchEmbed
    | ExtendedPatchEmbed
    | FlexiblePatchEmbed
    | OverlappingPatchEmbed
    | ConvStemPatchEmbed
    | HierarchicalPatchEmbed
    | AdaptivePatchEmbed
)
PATCH_EMBEDS: dict[str, type] = {
    c.kind: c
    for c in (
        ConvPatchEmbed,
        ExtendedPatchEmbed,
        FlexiblePatchEmbed,
        OverlappingPatchEmbed,
        ConvStemPatchEmbed,
        HierarchicalPatchEmbed,
        AdaptivePatchEmbed,
    )
}
