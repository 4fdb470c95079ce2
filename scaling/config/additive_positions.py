"""Position encodings that are functions of the coordinates of a patch, added to its token, as kinds of
ModelConfig.pos_embed. Sources: factorised tables NaViT, arXiv 2307.06304, section 2.1; learned Fourier features
arXiv 2106.02795; sines of the raster order arXiv 1706.03762. Standard library only.
"""

from dataclasses import dataclass
from typing import ClassVar

from scaling.config.fields import Bounds, check_fields, config_field

COORDINATES = ("absolute", "fractional", "fractional_ar")
_COORDINATES = (
    "coordinates of a patch: absolute (in patches of the first training, from the corner), fractional (share of its "
    "side of the image), fractional_ar (share of the longer side)"
)


@dataclass(frozen=True, kw_only=True)
class NoPosEmbed:
    """No positions: DeiT sees a set of patches, Adventurer their order."""

    kind: ClassVar[str] = "none"


@dataclass(frozen=True, kw_only=True)
class SinCos1dPosEmbed:
    """Fixed sines and cosines of the place in the raster order."""

    kind: ClassVar[str] = "sincos1d"


@dataclass(frozen=True, kw_only=True)
class FactorizedPosEmbed:
    """A learned vector of the row plus one of the column."""

    kind: ClassVar[str] = "factorized"
    position_coordinates: str = config_field(_COORDINATES, "absolute", choices=COORDINATES)
    max_side: int = config_field(
        "learned vectors of rows, and of columns; absolute coordinates: the longest side of an image",
        64,
        unit="vectors",
        bounds=Bounds(at_least=1),
    )

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class FourierPosEmbed:
    """Sines and cosines at learned frequencies of row and column, and a linear layer."""

    kind: ClassVar[str] = "fourier"
    position_coordinates: str = config_field(_COORDINATES, "fractional", choices=COORDINATES)
    fourier_std: float = config_field(
        "standard deviation of the frequencies at the start [periods per side of the image of the first training]",
        1.0,
        bounds=Bounds(above=0),
    )

    def __post_init__(self) -> None:
        check_fields(self)
