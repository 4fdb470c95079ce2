"""The two passes of the mixer over its tiles. Letters as in mamba2_mixer.py."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from scaling.backbones.ssd.mixer_tile import Tile
from scaling.backbones.ssd.mixer_tiling import Gradients, TilePlace, Tiling


class Forward(NamedTuple):
    """Output, the state before each tile but the first of an image, and with keep the tiles."""

    out_BLI: Tensor
    states_BSNI: Tensor
    tiles: list[Tile]


def forward(tiling: Tiling, keep: bool) -> Forward:
    inner, states, _ = tiling.w.parts
    out_BLI = tiling.w.A_H.new_empty(tiling.batch, tiling.length, inner)
    states_BSNI = tiling.w.A_H.new_empty(tiling.batch, tiling.count - 1, states, inner)
    tiles: list[Tile] = []
    state_gNI: Tensor | None = None
    for at in tiling.places():
        if at.number == 0:
            state_gNI = None
        elif state_gNI is not None:
            states_BSNI[at.rows, at.number - 1] = state_gNI
        tile = Tile(tiling, at, state_gNI, keep)
        state_gNI = tile.after_gNI
        tile.write_output(out_BLI[at.rows, at.tokens])
        if keep:
            tiles.append(tile)
    return Forward(out_BLI, states_BSNI, tiles)


def backward(
    tiling: Tiling, g_BLI: Tensor, tile_at: Callable[[int, TilePlace], Tile], dtypes: list[torch.dtype]
) -> tuple[Tensor, ...]:
    """Gradients of the inputs. tile_at: a tile that has kept what it needs, from its index among all and its place."""
    grads = Gradients(tiling)
    for i, at in reversed(list(enumerate(tiling.places()))):
        tile_at(i, at).backward(g_BLI[at.rows, at.tokens].to(tiling.work), grads)
    return tuple(grads.as_inputs(dtypes))


def recomputed(tiling: Tiling, states_BSNI: Tensor) -> Callable[[int, TilePlace], Tile]:
    """tile_at of backward, from the states that forward returns."""

    def tile_at(i: int, at: TilePlace) -> Tile:
        return Tile(tiling, at, states_BSNI[at.rows, at.number - 1] if at.number else None, keep=True)

    return tile_at
