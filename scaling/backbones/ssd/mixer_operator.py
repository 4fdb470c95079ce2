"""The mixer as one operator of torch, for what traces a model: torch.compile, torch.export, tensors without numbers.

The Functions of mamba2_mixer.py cannot be traced, since their tiles depend on the values of their inputs. The operator
is one node of a graph; its backward computes the forward pass again instead of keeping its tiles. Letters as in
mamba2_mixer.py. FLOPs are counted as in scaling/costs/adventurer.py: the definition's, not those of products in chunks.
"""

from typing import Protocol, cast

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from scaling.backbones.ssd.mixer_passes import backward, forward, recomputed
from scaling.backbones.ssd.mixer_tiling import Tiling
from scaling.backbones.ssd.scan_inputs import check_scan
from scaling.model_specs import MAX_KEPT_ELEMENTS

SCAN_PRODUCTS = 3  # multiply-adds of the scan per token, channel and state: decay, input, read-out
WEIGHTED = 7  # tensors: zxBCdt and Weights, in this order in all that follows
_WEIGHTED = "Tensor zxBCdt, Tensor conv, Tensor conv_bias, Tensor dt_bias, Tensor A, Tensor D, Tensor norm"
_GRADIENTS = ", ".join(["Tensor"] * WEIGHTED)


class _Context(Protocol):
    saved_tensors: tuple[Tensor, ...]
    eps: float

    def save_for_backward(self, *tensors: Tensor | None) -> None: ...


@torch.library.custom_op(
    "patch_scaling::mixer", mutates_args=(), schema=f"({_WEIGHTED}, float eps, Tensor? ids) -> Tensor"
)
def mixer(zxBCdt: Tensor, *others: Tensor | float | None) -> Tensor:
    """mamba2_mixer.mix: (B, L, X) to (B, L, I) in the dtype of zxBCdt. Raises ConfigError."""
    *weights, eps, ids = others
    check_scan(zxBCdt, cast(Tensor | None, ids))
    with torch.autocast(zxBCdt.device.type, enabled=False):
        tiling = Tiling(zxBCdt, cast(list[Tensor], weights), cast(float, eps), cast(Tensor | None, ids))
        return forward(tiling, keep=False).out_BLI.to(zxBCdt.dtype)


@mixer.register_fake
def _output(zxBCdt: Tensor, *others: Tensor | float | None) -> Tensor:
    norm = cast(Tensor, others[WEIGHTED - 2])
    return zxBCdt.new_empty(zxBCdt.shape[0], zxBCdt.shape[1], norm.shape[0])


@torch.library.custom_op(
    "patch_scaling::mixer_backward",
    mutates_args=(),
    schema=f"(Tensor g, {_WEIGHTED}, float eps, Tensor? ids) -> ({_GRADIENTS})",
)
def mixer_backward(g: Tensor, zxBCdt: Tensor, *others: Tensor | float | None) -> tuple[Tensor, ...]:
    """Gradients of zxBCdt and of the weights, from the gradient g (B, L, I) of the output."""
    *weights, eps, ids = others
    with torch.autocast(zxBCdt.device.type, enabled=False):
        tiling = Tiling(zxBCdt, cast(list[Tensor], weights), cast(float, eps), cast(Tensor | None, ids))
        small = tiling.batch * tiling.length * tiling.inner <= MAX_KEPT_ELEMENTS
        _, states_BSNI, tiles = forward(tiling, keep=small)
        tile_at = (lambda i, at: tiles[i]) if small else recomputed(tiling, states_BSNI)
        found = backward(tiling, g, tile_at, [t.dtype for t in (zxBCdt, *cast(list[Tensor], weights))])
    return tuple(gradient.contiguous() for gradient in found)


@mixer_backward.register_fake
def _gradients(g: Tensor, *others: Tensor | float | None) -> tuple[Tensor, ...]:
    return tuple(t.new_empty(t.shape) for t in cast(tuple[Tensor, ...], others[:WEIGHTED]))


def _setup_context(ctx: _Context, inputs: tuple[object, ...], output: Tensor) -> None:
    *weighted, eps, ids = inputs
    ctx.eps = cast(float, eps)
    ctx.save_for_backward(*cast(list[Tensor], weighted), cast(Tensor | None, ids))


def _backward(ctx: _Context, g: Tensor) -> tuple[Tensor | None, ...]:
    *weighted, ids = ctx.saved_tensors
    return *mixer_backward(g, *weighted, ctx.eps, ids), None, None


mixer.register_autograd(_backward, setup_context=_setup_context)


@register_flop_formula(torch.ops.patch_scaling.mixer)
def _mixer_flops(zxBCdt: tuple[int, ...], conv: tuple[int, ...], *others: tuple[int, ...] | float, **_: object) -> int:
    """Of the scan and the convolution; the arguments are shapes."""
    inner, channels, taps = cast(tuple[int], others[4])[0], conv[0], conv[2]
    states = (channels - inner) // 2
    return 2 * zxBCdt[0] * zxBCdt[1] * (SCAN_PRODUCTS * inner * states + taps * channels)


@register_flop_formula(torch.ops.patch_scaling.mixer_backward)
def _mixer_backward_flops(
    g: tuple[int, ...], zxBCdt: tuple[int, ...], *others: tuple[int, ...] | float, **_: object
) -> int:
    """Twice the forward pass's, as of any product; that of computing it again is left out."""
    return 2 * _mixer_flops(zxBCdt, cast(tuple[int, ...], others[0]), *others[1:])
