"""Position encodings that act inside attention or a scan: RoPE and relative biases, as kinds of ModelConfig.pos_embed.

Sources: RoPE arXiv 2104.09864, axial and mixed for images arXiv 2403.13298; position interpolation arXiv 2306.15595;
NTK by parts with temperature (YaRN) arXiv 2309.00071; table of biases arXiv 2103.14030 and 2106.08254, biases by an MLP
arXiv 2111.09883. Standard library only.
"""

from dataclasses import dataclass
from typing import ClassVar

from scaling.config.fields import Bounds, check_fields, config_field

TRANSFERS = ("extrapolate", "interpolate", "yarn", "ntk")  # of RoPE to an image of another length
_TRANSFER = (
    "RoPE at images longer or shorter than those of the first training: extrapolate (angles go on), interpolate "
)
_BASE = "RoPE: base of the frequencies, which fall from 1 to 1 / base [rad per patch of the first training]"
_TABLE = "whether a learned vector per token is added to the tokens, too"


@dataclass(frozen=True, kw_only=True)
class RopePosEmbed:
    """Queries and keys are rotated, half of the channels by the row and half by the column."""

    kind: ClassVar[str] = "rope"
    rope_base: float = config_field(_BASE, 100.0, bounds=Bounds(above=1))
    rope_transfer: str = config_field(
        _TRANSFER + "(angles of the same place), yarn (by parts, with its temperature), ntk (another base; axial only)",
        "interpolate",
        choices=TRANSFERS,
    )
    learned_table: bool = config_field(_TABLE, False)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class RopeMixedPosEmbed:
    """Queries and keys are rotated by sums of row and column, weighted by learned frequencies of each block and head.
    They have no base that ntk could change after training."""

    kind: ClassVar[str] = "rope_mixed"
    rope_base: float = config_field(_BASE, 10.0, bounds=Bounds(above=1))
    rope_transfer: str = config_field(
        _TRANSFER + "(angles of the same place), yarn (by parts, with its temperature), ntk (another base; axial only)",
        "interpolate",
        choices=TRANSFERS[:-1],
    )
    learned_table: bool = config_field(_TABLE, False)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class ScanRopePosEmbed(RopePosEmbed):
    """RoPE for Adventurer, an experiment of this project: B and C of every scan, which are its keys and queries by the
    duality of arXiv 2405.21060, are rotated, half of the state by the row and half by the column."""

    kind: ClassVar[str] = "rope_scan"


@dataclass(frozen=True, kw_only=True)
class RelativePosEmbed:
    """A learned bias of attention's logits per head and offset, in all blocks; interpolated to other grids."""

    kind: ClassVar[str] = "relative"
    learned_table: bool = config_field(_TABLE, False)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class RelativeMlpPosEmbed:
    """A bias of attention's logits that an MLP computes from the offset, in all blocks; defined at any grid."""

    kind: ClassVar[str] = "relative_mlp"
    learned_table: bool = config_field(_TABLE, False)

    def __post_init__(self) -> None:
        check_fields(self)
