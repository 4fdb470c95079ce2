"""The contract between backbones and tasks: an image in, Features out.

A task reads Features and the attributes of Backbone, never a backbone's type. To add a family: a row in
scaling/model_specs.py, a file here with a subclass of Backbone, a line in FAMILIES (registry.py), a cost model in
scaling/costs/.
B batch, L patches, T tokens (patches and class tokens), N images, D width, C channels, H W pixels, h w grid.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scaling.errors import ConfigError
from scaling.packing.leaf_rows import leaf_map, with_class_tokens
from scaling.packing.packed_images import PackedImages
from scaling.packing.packed_rows import PackedRows, pyramid
from scaling.preprocessing import MEAN, STD


@dataclass(frozen=True, eq=False)
class TokenLayout:
    """Positions of the patches of a batch in their images, and the tokens of a row that are not patches.

    Either every row is one image whose patches form a grid, row by row (`grid`), or rows hold several images, each with
    a grid of its own, or with patches of several sizes (`rows`). Then lists of patches have one row, (1, L, ...), image
    by image."""

    patch_px: int  # side of a patch, of the finest ones where they differ [px]
    device: torch.device
    grid: tuple[int, int] | None = None  # rows and columns of patches; None: rows of several images
    rows: PackedRows | None = None
    leading: int = 0  # tokens before the patches of an image that are no patches, such as a class token
    trailing: int = 0  # tokens after them that are no patches

    @functools.cached_property
    def coords_BL2(self) -> Tensor:
        """Row and column of the centre of each patch, as shares of its image's height and width, in [0, 1] (1, L, 2),
        float32."""
        return self.centres_BL2 / self.sides_BL2

    @functools.cached_property
    def centres_BL2(self) -> Tensor:
        """Row and column of the centre of each patch, in patches from its image's corner (1, L, 2), float32."""
        if self.rows is not None:
            of_grid = {grid: self._all_centres(grid, self.rows.levels) for grid in set(self.rows.grids)}
            whole_L2 = torch.cat([of_grid[grid] for grid in self.rows.grids])
            return self.rows.on(self.device).kept_patches(whole_L2).unsqueeze(0)
        assert self.grid is not None
        return self._centres(self.grid).unsqueeze(0)

    @functools.cached_property
    def sides_BL2(self) -> Tensor:
        """Rows and columns of patches of each patch's image (1, L, 2), float32."""
        if self.rows is None:
            assert self.grid is not None
            return torch.tensor(self.grid, device=self.device, dtype=torch.float32).expand(1, math.prod(self.grid), 2)
        counts_N = torch.tensor(self.rows.patch_counts)
        return torch.tensor(self.rows.grids).float().repeat_interleave(counts_N, 0).unsqueeze(0).to(self.device)

    def _all_centres(self, grid: tuple[int, int], levels: int) -> Tensor:
        return torch.cat([(grid[0] // one[0]) * self._centres(one) for one in pyramid(grid, levels)])

    def _centres(self, grid: tuple[int, int]) -> Tensor:
        axes = [torch.arange(n, device=self.device, dtype=torch.float32) + 0.5 for n in grid]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).view(-1, 2)

    def with_class_tokens(
        self, patches_BLD: Tensor, leading_1XD: Tensor | None = None, trailing_1XD: Tensor | None = None
    ) -> tuple[Tensor, "TokenLayout"]:
        """Rows of tokens (B, T, D) from patches (B, L, D), the same class tokens joined to those of every image; and
        their layout. Raises ConfigError where packed rows have places for another number of class tokens."""
        counts = tuple(0 if x is None else x.shape[1] for x in (leading_1XD, trailing_1XD))
        layout = replace(self, leading=counts[0], trailing=counts[1])
        if self.rows is None:
            parts = [x.to(patches_BLD.dtype) for x in (leading_1XD, patches_BLD, trailing_1XD) if x is not None]
            # shape: torch.export takes len for a constant
            return torch.cat([x.expand(patches_BLD.shape[0], -1, -1) for x in parts], 1), layout
        if self.rows.levels > 1:  # the embedding made these rows, and knows no class tokens
            layout = replace(layout, rows=with_class_tokens(self.rows, *counts))
        rows = layout.rows
        assert rows is not None
        if counts != (rows.leading, rows.trailing):
            has = f"{rows.leading} class tokens before and {rows.trailing} after the patches of an image"
            raise ConfigError(f"these rows have {has}; the backbone has {counts[0]} and {counts[1]}")
        x_RSD = layout.padded(patches_BLD)
        tokens = [x[:, i] for x in (leading_1XD, trailing_1XD) if x is not None for i in range(x.shape[1])]
        for number, token_1D in enumerate(tokens):
            at_N = torch.from_numpy(rows.class_tokens_N(number)).to(self.device)
            flat = x_RSD.flatten(0, 1)
            x_RSD = flat.index_copy(0, at_N, token_1D.to(flat.dtype).expand(len(at_N), -1)).view_as(x_RSD)
        return x_RSD, layout

    def padded(self, x_BLX: Tensor) -> Tensor:
        """(B, T, X) from values of the patches (B, L, X): zeros for tokens that are no patches."""
        if self.rows is None:
            return F.pad(x_BLX, (0, 0, self.leading, self.trailing))
        return self.rows.on(self.device).patches_to_rows(x_BLX[0])

    def patches(self, x_BTD: Tensor) -> Tensor:
        """Those of rows of tokens (B, T, D) that are patches (B, L, D)."""
        if self.rows is None:
            return x_BTD[:, self.leading : x_BTD.shape[1] - self.trailing]
        return self.rows.on(self.device).patches(x_BTD).unsqueeze(0)

    def to_map(self, x_BLX: Tensor) -> Tensor:
        """Values of the patches (B, L, X) as a map (B, X, h, w), contiguous; of patches of several sizes at the grid of
        the finest, with the values of a patch in every cell that it covers. Raises ValueError where images have grids
        of their own."""
        if self.grid is not None:
            return x_BLX.transpose(1, 2).unflatten(2, self.grid).contiguous()
        if self.rows is None or self.rows.levels == 1:
            raise ValueError("packed tokens have no map: their images have grids of their own")
        return leaf_map(self.rows, x_BLX[0])

    def class_token(self, x_BTD: Tensor) -> Tensor:
        """The first class token of each image (N, D)."""
        if self.rows is None:
            return x_BTD[:, 0] if self.leading else x_BTD[:, -self.trailing]
        return x_BTD.flatten(0, 1).index_select(0, torch.from_numpy(self.rows.class_tokens_N(0)).to(self.device))


class Features(NamedTuple):
    """Output of a backbone."""

    tokens_BLD: Tensor  # of the patches, after the final norm; of packed images (1, L, D), image by image
    pooled_ND: Tensor  # one feature vector per image
    layout: TokenLayout
    hidden: tuple[Tensor, ...] = ()  # tokens (B, L, D) after the requested blocks, with the final norm

    def to_map(self) -> Tensor:
        """The tokens as a map (B, D, h, w), as TokenLayout.to_map makes it."""
        return self.layout.to_map(self.tokens_BLD)

    def hidden_maps(self) -> list[Tensor]:
        """`hidden` as maps (B, D, h, w), likewise."""
        return [self.layout.to_map(tokens_BLD) for tokens_BLD in self.hidden]


class ResidualStream(NamedTuple):
    """Modules between which a backbone's rows of tokens (B, T, D) can be read, and what is where in a row."""

    blocks: list[nn.Module]  # in order; each maps rows to rows
    mlp_norm: str  # name in a block of the norm whose input is the rows after the mixer; empty: blocks have none
    first_patch: int  # index of the first patch in a row; the others follow
    class_token: int | None  # its index in a row; None: there is none


class Backbone(nn.Module):
    """Base of all backbones.

    mean, std: of pixels in [0, 1], by channel, that images are normalised with before they are given to forward
    (build_backbone sets them)."""

    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD

    def __init__(self, width: int, stride: int, depth: int, dynamic_img_size: bool = True) -> None:
        """width: D. stride: patch size, distance between neighbouring tokens [px]. depth: number of blocks.
        dynamic_img_size: whether images may have any sides that the patch divides, not only those it is built for."""
        super().__init__()
        self.width, self.stride, self.depth, self.dynamic_img_size = width, stride, depth, dynamic_img_size

    def forward(
        self, image_BCHW: Tensor | PackedImages, blocks: Sequence[int] = (), patch_size: int | None = None
    ) -> Features:
        """Images of one size, or packed images of any sizes: the features of an image are the same. blocks: indices
        (from 0, ascending) of the blocks whose output `Features.hidden` has. patch_size: of this call [px]; None:
        `stride`. Raises ConfigError where patches do not tile the images, and for a patch size that the embedding does
        not have."""
        raise NotImplementedError

    def initialise(self, seed: int) -> None:
        """Draw every weight from the seed and the name of its module."""
        raise NotImplementedError

    @property
    def checkpoint_module(self) -> nn.Module:
        """The module whose state-dict keys are those of public checkpoints."""
        raise NotImplementedError

    def convert_state_dict(self, state: dict[str, Tensor], pos_embed_resampling: str = "aligned") -> dict[str, Tensor]:
        """A public checkpoint's tensors, resampled to this patch and image size. pos_embed_resampling: one of
        RESAMPLINGS, as in FromFile. Raises ConfigError for weights of another architecture."""
        return state

    @property
    def positioned_class_tokens(self) -> tuple[int, int]:
        """Numbers of class tokens before and after the patches that have a position in the stored table."""
        return 0, 0

    def no_weight_decay(self) -> set[str]:
        """Names in checkpoint_module, or fnmatch patterns of names, of parameters that get no weight decay, beside all
        vectors: those that the module itself lists (timm's method of this name), those of position encodings and the
        vectors of the sizes of leaves."""
        net = self.checkpoint_module
        of_net = getattr(net, "no_weight_decay", None) if net is not self else None
        return {*(of_net() if of_net else ()), "positions.*", "patch_embed.size_embed"}

    def residual_stream(self) -> ResidualStream:
        """Where activations.py reads the tokens between blocks. Raises ConfigError where a backbone does not state
        it."""
        raise ConfigError(f"{type(self).__name__} does not state where its tokens between blocks are")

    def scan_backend(self, device: str) -> str:
        """Implementation of the scan on a kind of device ("cpu", "cuda"); empty for a backbone without a scan."""
        return ""
