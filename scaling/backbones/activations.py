"""Activations of a backbone between its blocks: of class tokens and of patches averaged over cells of a coarser grid.

They are read by forward hooks, before the final norm. Points, in order: embed (tokens with their positions), then of
each block N "N mix" (after attention or the scan) and "N" (after the MLP); class tokens from "1 mix" on, since at embed
they are the same for all images. B images, T tokens, D width, h w grid of patches, g cells along a side.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from scaling.backbones.base import Backbone, ResidualStream

CLASS, PATCHES = "class token", "patches"  # kinds of tokens
Point = tuple[str, str]  # kind of tokens, and layer
See = Callable[[str, Tensor], None]  # receives the name of a layer and its rows (B, T, D)


def points(backbone: Backbone) -> list[Point]:
    """The points that `activations` gives, patches first."""
    stream = backbone.residual_stream()
    steps = (" mix", "") if stream.mlp_norm else ("",)
    layers = [f"{n}{step}" for n in range(1, len(stream.blocks) + 1) for step in steps]
    of_class = [(CLASS, layer) for layer in layers] if stream.class_token is not None else []
    return [(PATCHES, layer) for layer in ("embed", *layers)] + of_class


def activations(
    backbone: Backbone, image_BCHW: Tensor, cells: int, patch_size: int | None = None
) -> dict[Point, Tensor]:
    """Of every point: (B, D) of class tokens, (B, cells * cells * D) of patches. image_BCHW: normalised. cells: g, at
    most h and w. patch_size: as for Backbone.forward."""
    stream = backbone.residual_stream()
    height, width = (side // (patch_size or backbone.stride) for side in image_BCHW.shape[-2:])
    found: dict[Point, Tensor] = {}

    def see(layer: str, row_BTD: Tensor) -> None:
        patches_BLD = row_BTD[:, stream.first_patch :][:, : height * width]
        found[PATCHES, layer] = averaged(patches_BLD.unflatten(1, (height, width)), cells).flatten(1)
        if stream.class_token is not None and layer != "embed":
            found[CLASS, layer] = row_BTD[:, stream.class_token]

    with torch.no_grad(), watched(stream, see):
        backbone(image_BCHW, patch_size=patch_size)
    return {point: found[point] for point in points(backbone)}


def averaged(map_BhwD: Tensor, cells: int) -> Tensor:
    """Means (B, g, g, D) over the cells of a g x g grid, by area: of a patch that lies in several cells each gets its
    share."""
    rows_gh, columns_gw = (_areas(n, cells).to(map_BhwD) for n in map_BhwD.shape[1:3])
    return torch.einsum("gh,kw,bhwd->bgkd", rows_gh, columns_gw, map_BhwD)


@functools.lru_cache(maxsize=64)
def _areas(n: int, cells: int) -> Tensor:
    """(g, n) float64: the share that each of n intervals has in each of g, both of which divide the same length."""
    cell_g1, own_n = torch.arange(cells, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    ends_gn = torch.minimum((cell_g1 + 1) * n, (own_n + 1) * cells)  # in units of 1 / (n g), so that they are exact
    return (ends_gn - torch.maximum(cell_g1 * n, own_n * cells)).clip(min=0) / n


@contextmanager
def watched(stream: ResidualStream, see: See) -> Iterator[None]:
    """Inside, see receives the rows at every point of a forward pass, in order."""

    def given(layer: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda module, arguments: see(layer, arguments[0])

    def made(layer: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda module, arguments, row_BTD: see(layer, row_BTD)

    with ExitStack() as hooks:
        hooks.enter_context(stream.blocks[0].register_forward_pre_hook(given("embed")))
        for n, block in enumerate(stream.blocks, 1):
            if stream.mlp_norm:
                norm = block.get_submodule(stream.mlp_norm)
                hooks.enter_context(norm.register_forward_pre_hook(given(f"{n} mix")))
            hooks.enter_context(block.register_forward_hook(made(f"{n}")))
        yield
