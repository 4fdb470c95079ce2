"""ModelConfig: the backbone, its input size, and how pixels become tokens with positions.

Sources: backbones and sizes are those of Table 7 of arXiv 2502.03738 (scaling/model_specs.py).
"""

from dataclasses import dataclass
from typing import ClassVar

from scaling.config.additive_positions import FactorizedPosEmbed, FourierPosEmbed, NoPosEmbed, SinCos1dPosEmbed
from scaling.config.attention_positions import (
    RelativeMlpPosEmbed,
    RelativePosEmbed,
    RopeMixedPosEmbed,
    RopePosEmbed,
    ScanRopePosEmbed,
)
from scaling.config.fields import Bounds, Kind, check, check_fields, check_name, config_field
from scaling.config.patch_embeds import PATCH_EMBEDS, AdaptivePatchEmbed, ConvPatchEmbed, PatchEmbedConfig
from scaling.model_specs import MODEL_SPECS

TIMM = "timm:"  # prefix of the name of a backbone that timm provides, a plain ViT
TIMM_MAPS = "timm_maps:"  # the same for a model with feature maps


@dataclass(frozen=True, kw_only=True)
class LearnedPosEmbed:
    """One learned vector per token, initialised with standard deviation 0.02."""

    kind: ClassVar[str] = "learned"


@dataclass(frozen=True, kw_only=True)
class SinCosPosEmbed:
    """Fixed two-dimensional sines and cosines (arXiv 2104.02057)."""

    kind: ClassVar[str] = "sincos"
    sincos_transfer: str = config_field(
        "sines at images longer or shorter than those of the first training: interpolate (those of the same place), "
        "extrapolate (coordinates go on, as far apart as in training)",
        "interpolate",
        choices=("interpolate", "extrapolate"),
    )

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class GridPosEmbed:
    """Learned vectors on a grid of its own, interpolated (linear) to the grid of every image and patch size (FlexiViT,
    arXiv 2212.08013)."""

    kind: ClassVar[str] = "grid"
    grid_size: int = config_field(
        "side of the grid of learned positions, which is interpolated to that of the tokens",
        7,
        unit="vectors",
        bounds=Bounds(at_least=1),
    )
    grid_antialias: bool = config_field(
        "whether all positions count where their grid is reduced, as in the code of the paper; false: as timm does it "
        "with weights of FlexiViT",
        True,
    )

    def __post_init__(self) -> None:
        check_fields(self)


OfCoordinates = NoPosEmbed | SinCos1dPosEmbed | FactorizedPosEmbed | FourierPosEmbed
Relative = RelativePosEmbed | RelativeMlpPosEmbed
InAttention = RopePosEmbed | RopeMixedPosEmbed | Relative | ScanRopePosEmbed
_POS_EMBEDS: tuple[type[Kind], ...] = (
    *(LearnedPosEmbed, SinCosPosEmbed, GridPosEmbed),
    *(NoPosEmbed, SinCos1dPosEmbed, FactorizedPosEmbed, FourierPosEmbed),
    *(RopePosEmbed, RopeMixedPosEmbed, RelativePosEmbed, RelativeMlpPosEmbed, ScanRopePosEmbed),
)
POS_EMBEDS: dict[str, type] = {c.kind: c for c in _POS_EMBEDS}


def _check_backbone(name: str) -> None:
    if not name.startswith((TIMM, TIMM_MAPS)):
        check_name("backbone", name, MODEL_SPECS)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The backbone and its input."""

    backbone: str = config_field(
        "model by name (Table 7 of arXiv 2502.03738, and pico, nano, micro), timm:NAME for a plain ViT of timm, "
        "timm_maps:NAME for one with feature maps",
        "deit_nano",
        choices=_check_backbone,
        common=True,
    )
    img_size: int = config_field(
        "side of the square input image; segmentation: of a training crop; detection: of the image that positions are "
        "made for, and of a crop",
        16,
        unit="px",
        bounds=Bounds(at_least=1),
        common=True,
    )
    patch_embed: PatchEmbedConfig = config_field(
        "how pixels become tokens", ConvPatchEmbed(), registry=PATCH_EMBEDS, by_leaf=True
    )
    pos_embed: LearnedPosEmbed | SinCosPosEmbed | GridPosEmbed | OfCoordinates | InAttention = config_field(
        "position encoding: learned, sincos (fixed, 2-D; arXiv 2104.02057), grid (learned on a small grid, "
        "interpolated; arXiv 2212.08013), none, sincos1d (of the raster order), factorized (of the row plus of the "
        "column; arXiv 2307.06304), fourier (learned frequencies; arXiv 2106.02795); inside DeiT's attention: rope "
        "(2-D, axial), rope_mixed (learned frequencies; arXiv 2403.13298), relative (a bias per offset), relative_mlp "
        "(a bias by an MLP of the offset); inside Adventurer's scan: rope_scan",
        LearnedPosEmbed(),
        registry=POS_EMBEDS,
    )
    drop_path: float = config_field(
        "stochastic depth (arXiv 1603.09382) of the last block, rising linearly from 0 at the first",
        0.0,
        bounds=Bounds(at_least=0, below=1),
    )
    norm: str = config_field(
        "norm of DeiT's tokens: layer (over the channels of each token), batch (over all tokens of a batch, arXiv "
        "1502.03167) or batch_per_patch (the same, with running statistics for each patch size of training)",
        "layer",
        choices=("layer", "batch", "batch_per_patch"),
    )
    scan_direction: str = config_field(
        "Adventurer: blocks that scan the image backwards: released (the third and fourth of all, as the released "
        "weights need) or alternate (two of every four, as in arXiv 2410.07599)",
        "released",
        choices=("released", "alternate"),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        self.patch_embed.check_image(self.img_size)
        rule = f"is for Adventurer, not {self.family}"
        check(
            self.scan_direction == "released" or self.family == "adventurer",
            "scan_direction",
            self.scan_direction,
            rule,
        )
        rule = f"is for DeiT, not {self.family}: its norms are part of its weights and costs"
        check(self.norm == "layer" or self.family in ("deit", "deit3"), "norm", self.norm, rule)
        adaptive, biased = isinstance(self.patch_embed, AdaptivePatchEmbed), isinstance(self.pos_embed, Relative)
        rule = (
            "has a bias per offset in a grid, and adaptive patches have several sizes: use --pos-embed rope or learned"
        )
        check(not (adaptive and biased), "pos_embed", self.pos_embed.kind, rule)
        if self.family == "timm":
            rule = "is not for timm's backbones, which have their own: add"
            check(
                isinstance(self.pos_embed, LearnedPosEmbed),
                "pos_embed",
                self.pos_embed.kind,
                f"{rule} --pos-embed learned",
            )
            check(
                isinstance(self.patch_embed, ConvPatchEmbed),
                "patch_embed",
                self.patch_embed.kind,
                f"{rule} --patch-embed conv",
            )
            check(self.drop_path == 0, "drop_path", self.drop_path, f"{rule} --drop-path 0.0")

    @property
    def patch_size(self) -> int:
        """Side of a square patch [px], whatever embeds it."""
        return self.patch_embed.patch_size

    @property
    def embed_patch_size(self) -> int | None:
        """Kernel of an extended embedding [px]; None for any other."""
        return getattr(self.patch_embed, "embed_patch_size", None)

    @property
    def kernel_size(self) -> int | None:
        """Side of the learned kernel of a flexible embedding [px]; None for any other."""
        return getattr(self.patch_embed, "kernel_size", None)

    @property
    def resize(self) -> str | None:
        """How the kernel of a flexible embedding is resized; None for any other."""
        return getattr(self.patch_embed, "resize", None)

    @property
    def position_grid(self) -> int:
        """Side of the grid of learned positions [vectors], where positions are learned."""
        return getattr(self.pos_embed, "grid_size", self.img_size // self.patch_size)

    @property
    def learned_table(self) -> bool:
        """Whether a table of learned positions is added beside an encoding that acts inside attention."""
        return getattr(self.pos_embed, "learned_table", False)

    @property
    def any_patch(self) -> bool:
        """Whether one model embeds patches of any size that divides the image."""
        return getattr(self.patch_embed, "any_patch", False)

    @property
    def family(self) -> str:
        """Family of the backbone: deit, deit3, adventurer, timm."""
        return MODEL_SPECS[self.backbone].family if self.backbone in MODEL_SPECS else "timm"
