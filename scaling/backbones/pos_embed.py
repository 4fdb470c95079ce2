"""Position encodings: how tokens know where in the image they lie. A new encoding is a subclass of PositionEncoding
(position_encoding.py) and a line in POSITION_ENCODINGS; its fields are a part of the same kind in scaling/config.

learned   one parameter vector per token, trunc_normal 0.02 (ViT, DeiT, Adventurer); resampled at other grids
sincos    fixed sines and cosines of row and column (arXiv 2104.02057, appendix), evaluated at any grid
grid      parameter vectors on a grid of its own, interpolated to the grid of every image (FlexiViT, arXiv 2212.08013)
none, sincos1d, factorized, fourier  functions of the coordinates, added (additive_positions.py)
rope, rope_mixed          rotations of queries and keys (rope.py)
rope_scan                 rotations of B and C of a scan (scan_rope.py)
relative, relative_mlp    biases of attention's logits (relative_bias.py)

An encoding may act at three places: on tokens before the blocks (add), on queries and keys (rotate), on attention's
logits (bias). B batch, T tokens (L patches and class tokens), D width, H heads, P channels of a head, h w grid.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from scaling.backbones.additive_positions import Factorized, Fourier, NoPositions, SinCos1d
from scaling.backbones.base import TokenLayout
from scaling.backbones.position_encoding import PositionEncoding, PositionSpec
from scaling.backbones.relative_bias import RelativeMlp, RelativeTable
from scaling.backbones.resampling import BICUBIC, LINEAR, resize_positions
from scaling.backbones.rope import AxialRope, MixedRope
from scaling.backbones.scan_rope import ScanRope
from scaling.backbones.sincos import Sines
from scaling.config.fields import check_name
from scaling.config.initialization import RESAMPLINGS
from scaling.errors import ConfigError
from scaling.packing.packed_rows import PackedRows, pyramid

SINCOS_COORDINATES = {"interpolate": "place", "extrapolate": "pixels"}  # of sines at an image of another length


class TablePositions(PositionEncoding):
    """Base of encodings whose vectors are a function of an image's grid: a subclass has `at`."""

    has_table = True

    def at(self, grid: tuple[int, int], layout: TokenLayout, table_1TD: Tensor) -> Tensor:
        """Positions of the patches of an image of this grid (1, h * w, D), or of all of its tokens (1, T, D).
        table_1TD: what the backbone stores, with vectors for class tokens or without."""
        raise NotImplementedError

    def add(self, x_BTD: Tensor, layout: TokenLayout, table_1TD: Tensor | None) -> Tensor:
        assert table_1TD is not None
        if layout.rows is not None:
            return x_BTD + self._in_rows(layout.rows, layout, table_1TD)
        assert layout.grid is not None
        found_1XD = self.at(layout.grid, layout, table_1TD)
        return x_BTD + (found_1XD if found_1XD.shape[1] == x_BTD.shape[1] else layout.padded(found_1XD))

    def _in_rows(self, rows: PackedRows, layout: TokenLayout, table_1TD: Tensor) -> Tensor:
        """(R, S, D): the positions of each image as if it were alone."""
        of_grid = {grid: self._of_image(pyramid(grid, rows.levels), layout, table_1TD) for grid in set(rows.grids)}
        index = rows.on(table_1TD.device)
        if len(of_grid[rows.grids[0]]) == rows.whole_counts[0]:  # none for class tokens
            return layout.padded(index.kept_patches(torch.cat([of_grid[grid] for grid in rows.grids])).unsqueeze(0))
        return index.to_rows(index.kept_tokens(torch.cat([of_grid[rows.grids[image]] for image in rows.order])))

    def _of_image(self, grids: list[tuple[int, int]], layout: TokenLayout, table_1TD: Tensor) -> Tensor:
        """Positions of all patches of an image's grids, coarse to fine, between those of class tokens, if any."""
        found = [self.at(grid, layout, table_1TD)[0] for grid in grids]
        first = layout.leading if len(found[-1]) > math.prod(grids[-1]) else 0
        ends = [first + math.prod(grid) for grid in grids]
        patches = [x_TD[first:end] for x_TD, end in zip(found, ends, strict=True)]
        return torch.cat([found[-1][:first], *patches, found[-1][ends[-1] :]])


def _between(table_1TD: Tensor, side: int, layout: TokenLayout) -> slice:
    """The vectors of the patches in a stored table of side x side, which may have vectors for class tokens too."""
    first = layout.leading if table_1TD.shape[1] > side * side else 0
    return slice(first, first + side * side)


class LearnedPositions(TablePositions):
    """A parameter vector per token. At another grid those of the patches are resampled (bicubic, antialiased), those of
    class tokens kept."""

    def __init__(self, spec: PositionSpec) -> None:
        super().__init__(spec)
        self._resampled: tuple[tuple, Tensor] | None = None  # the table of the last other grid, and its key

    def at(self, grid: tuple[int, int], layout: TokenLayout, table_1TD: Tensor) -> Tensor:
        """The table at a grid, kept for the next images of that size unless gradients are needed."""
        side = self.spec.grid
        if grid == (side, side):
            return table_1TD
        learning = table_1TD.requires_grad and torch.is_grad_enabled()
        key = (grid, table_1TD._version, table_1TD.device, torch.is_inference_mode_enabled())
        if not learning and self._resampled is not None and self._resampled[0] == key:
            return self._resampled[1]
        own = _between(table_1TD, side, layout)
        patches_1LD = resample_abs_pos_embed(table_1TD[:, own], list(grid), [side, side], num_prefix_tokens=0)
        found = torch.cat([table_1TD[:, : own.start], patches_1LD, table_1TD[:, own.stop :]], 1)
        self._resampled = None if learning else (key, found)
        return found


class SinCosPositions(TablePositions):
    """Fixed sines and cosines; zero for class tokens. The stored table is that of the training grid."""

    def __init__(self, spec: PositionSpec, sincos_transfer: str = "interpolate") -> None:
        """sincos_transfer: one of SINCOS_COORDINATES. Raises ConfigError for a width that 4 does not divide."""
        super().__init__(spec)
        if spec.width % 4:
            raise ConfigError(f"pos_embed sincos needs a width divisible by 4, not {spec.width}")
        check_name("sincos_transfer", sincos_transfer, SINCOS_COORDINATES)
        self.sines = Sines(spec.width, spec.patch_px, spec.reference, SINCOS_COORDINATES[sincos_transfer])

    def fixed_table(self) -> Tensor:
        return self.sines.table((self.spec.grid, self.spec.grid))

    def at(self, grid: tuple[int, int], layout: TokenLayout, table_1TD: Tensor) -> Tensor:
        if grid == (self.spec.grid, self.spec.grid):
            return table_1TD[:, _between(table_1TD, self.spec.grid, layout)] if layout.rows is not None else table_1TD
        return self.sines.like(grid, table_1TD).unsqueeze(0)


class GridPositions(TablePositions):
    """A parameter vector per cell of a grid of grid_size x grid_size, interpolated (linear) to the grid of every image;
    those of class tokens are kept."""

    def __init__(self, spec: PositionSpec, grid_size: int = 7, grid_antialias: bool = True) -> None:
        """grid_antialias: as resize_positions'."""
        super().__init__(spec)
        self.grid_size, self.grid_antialias = grid_size, grid_antialias

    @property
    def table_side(self) -> int:
        return self.grid_size

    def at(self, grid: tuple[int, int], layout: TokenLayout, table_1TD: Tensor) -> Tensor:
        own = _between(table_1TD, self.grid_size, layout)
        patches_1LD = resize_positions(table_1TD[:, own], grid, self.grid_antialias)
        return torch.cat([table_1TD[:, : own.start], patches_1LD, table_1TD[:, own.stop :]], 1)


class WithTable(LearnedPositions):
    """Learned vectors, and an encoding that acts inside attention or a scan ("APE + RoPE" in arXiv 2403.13298)."""

    def __init__(self, inside: PositionEncoding) -> None:
        super().__init__(inside.spec)
        self.inside = inside

    def rotate(self, q_BHTP: Tensor, k_BHTP: Tensor, layout: TokenLayout, block: int) -> tuple[Tensor, Tensor]:
        return self.inside.rotate(q_BHTP, k_BHTP, layout, block)

    def bias(self, layout: TokenLayout) -> Tensor | None:
        return self.inside.bias(layout)

    def scan_turns(self, layout: TokenLayout, dtype: torch.dtype) -> Tensor | None:
        return self.inside.scan_turns(layout, dtype)

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        own = {name.removeprefix("inside."): tensor for name, tensor in state.items()}
        return {f"inside.{name}": tensor for name, tensor in self.inside.convert_state_dict(own).items()}

    @property
    def rotates(self) -> bool:
        return self.inside.rotates

    @property
    def needs_attention(self) -> bool:
        return self.inside.needs_attention

    @property
    def needs_scan(self) -> bool:
        return self.inside.needs_scan


POSITION_ENCODINGS: dict[str, Callable[..., PositionEncoding]] = {
    "learned": LearnedPositions,
    "sincos": SinCosPositions,
    "grid": GridPositions,
    "none": NoPositions,
    "sincos1d": SinCos1d,
    "factorized": Factorized,
    "fourier": Fourier,
    "rope": AxialRope,
    "rope_mixed": MixedRope,
    "relative": RelativeTable,
    "relative_mlp": RelativeMlp,
    "rope_scan": ScanRope,
}


def build_position(name: str, spec: PositionSpec, **options: object) -> PositionEncoding:
    """The encoding of that name in POSITION_ENCODINGS; options: its own, and learned_table: a learned table beside
    it."""
    check_name("pos_embed", name, POSITION_ENCODINGS)
    beside = options.pop("learned_table", False)
    found = POSITION_ENCODINGS[name](spec, **options)
    return WithTable(found) if beside else found


def resample_table(pos_1TD: Tensor, grid: int, pos_embed_resampling: str = "aligned") -> Tensor:
    """A learned table whose class token is last (1, n * n + 1, D), resampled to grid x grid.

    pos_embed_resampling: aligned (bicubic, antialiased, the class token's vector is kept), bilinear (the same, linear),
    or released (resample_as_released). Raises ConfigError where n * n is no square."""
    check_name("pos_embed_resampling", pos_embed_resampling, RESAMPLINGS)
    patches_1LD, class_11D = pos_1TD[:, :-1], pos_1TD[:, -1:]
    if math.isqrt(patches_1LD.shape[1]) ** 2 != patches_1LD.shape[1]:
        raise ConfigError(f"these weights have positions of {patches_1LD.shape[1]} patches, which is no square")
    if pos_embed_resampling == "released":
        return resample_as_released(pos_1TD, grid)
    return torch.cat([resample_patches(patches_1LD, grid, pos_embed_resampling), class_11D], 1)


def resample_patches(patches_1LD: Tensor, grid: int, pos_embed_resampling: str) -> Tensor:
    """Vectors of a square grid (1, n * n, D) at grid x grid, antialiased. pos_embed_resampling: bilinear, or any other
    word: bicubic."""
    how = LINEAR if pos_embed_resampling == "bilinear" else BICUBIC
    return resample_abs_pos_embed(patches_1LD, [grid, grid], num_prefix_tokens=0, **how)


def resample_as_released(pos_1TD: Tensor, grid: int) -> Tensor:
    """Resampling of the code released with Adventurer (DeiT's): the first vector is kept as the class token's, the
    others are resampled (bicubic) as if they were the grid.

    Kept: Adventurer's class token is last, so its vector ends up in the grid, and every patch's one place too far."""
    first_11D, rest_1LD = pos_1TD[:, :1], pos_1TD[:, 1:]
    side = math.isqrt(rest_1LD.shape[1])
    if side * side != rest_1LD.shape[1]:
        raise ConfigError(f"these weights have {rest_1LD.shape[1]} positions and a class token's; that is no square")
    map_1Dhw = rest_1LD.transpose(1, 2).unflatten(2, (side, side))
    map_1Dhw = F.interpolate(map_1Dhw.float(), (grid, grid), mode="bicubic", align_corners=False).to(pos_1TD.dtype)
    return torch.cat([first_11D, map_1Dhw.flatten(2).transpose(1, 2)], 1)
