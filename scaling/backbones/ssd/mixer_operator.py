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
Weighted = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]  # zxBCdt and Weights, or their gradients


class _Context(Protocol):
    saved_tensors: tuple[Tensor, ...]
    eps: float

    def save_for_backward(self, *tensors: Tensor | None) -> None: ...


@torch.library.custom_op("patch_scaling::mixer", mutates_args=())
def mixer(
    zxBCdt: Tensor,
    conv: Tensor,
    conv_bias: Tensor,
    dt_bias: Tensor,
    A: Tensor,
    D: Tensor,
    norm: Tensor,
    eps: float,
    ids: Tensor | None,
) -> Tensor:
    """mamba2_mixer.mix: (B, L, X) to (B, L, I) in the dtype of zxBCdt. Raises ConfigError."""
    check_scan(zxBCdt, ids)
    with torch.autocast(zxBCdt.device.type, enabled=False):
        tiling = Tiling(zxBCdt, (conv, conv_bias, dt_bias, A, D, norm), eps, ids)
        return forward(tiling, keep=False).out_BLI.to(zxBCdt.dtype)


@mixer.register_fake
def _output(
    zxBCdt: Tensor,
    conv: Tensor,
    conv_bias: Tensor,
    dt_bias: Tensor,
    A: Tensor,
    D: Tensor,
    norm: Tensor,
    eps: float,
    ids: Tensor | None,
) -> Tensor:
    return zxBCdt.new_empty(zxBCdt.shape[0], zxBCdt.shape[1], norm.shape[0])


@torch.library.custom_op("patch_scaling::mixer_backward", mutates_args=())
def mixer_backward(
    g: Tensor,
    zxBCdt: Tensor,
    conv: Tensor,
    conv_bias: Tensor,
    dt_bias: Tensor,
    A: Tensor,
    D: Tensor,
    norm: Tensor,
    eps: float,
    ids: Tensor | None,
) -> Weighted:
    """Gradients of zxBCdt and of the weights, of the gradient g (B, L, I) of the output."""
    weights = (conv, conv_bias, dt_bias, A, D, norm)
    with torch.autocast(zxBCdt.device.type, enabled=False):
        tiling = Tiling(zxBCdt, weights, eps, ids)
        small = tiling.batch * tiling.length * tiling.inner <= MAX_KEPT_ELEMENTS
        _, states_BSNI, tiles = forward(tiling, keep=small)
        tile_at = (lambda i, at: tiles[i]) if small else recomputed(tiling, states_BSNI)
        found = backward(tiling, g, tile_at, [t.dtype for t in (zxBCdt, *weights)])
    return cast(Weighted, tuple(gradient.contiguous() for gradient in found))


@mixer_backward.register_fake
def _gradients(
    g: Tensor,
    zxBCdt: Tensor,
    conv: Tensor,
    conv_bias: Tensor,
    dt_bias: Tensor,
    A: Tensor,
    D: Tensor,
    norm: Tensor,
    eps: float,
    ids: Tensor | None,
) -> Weighted:
    inputs = (zxBCdt, conv, conv_bias, dt_bias, A, D, norm)
    return cast(Weighted, tuple(t.new_empty(t.shape) for t in inputs))


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
