"""A Mamba-2 mixer between its two projections, in one call: convolution, SiLU, scan, gate and norm.

Source: Mamba-2, arXiv 2405.21060; the scan is that of ssd_scan.py, whose letters are used. On CUDA with mamba-ssm it is
one of its kernels. Otherwise one autograd.Function processes tiles of tokens that stay in cache (mixer_tile.py), keeps
the state before each and recomputes the rest in the backward pass; for small inputs all of it is kept.

B batch, L tokens, I = H * P inner channels, N state size, C = I + 2 N channels of (x, B, C), K taps of the convolution,
X = I + C + H channels of (z, x, B, C, dt).
"""

from collections.abc import Sequence
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from scaling.backbones.ssd.mixer_operator import mixer
from scaling.backbones.ssd.mixer_passes import backward, forward, recomputed
from scaling.backbones.ssd.mixer_tile import Tile
from scaling.backbones.ssd.mixer_tiling import Tiling, Weights
from scaling.backbones.ssd.scan_inputs import ScanInputs, check_scan
from scaling.backbones.ssd.ssd_scan_cuda import mamba_ssm, mamba_ssm_mix
from scaling.backbones.ssd.ssd_scan_reference import scan_ref
from scaling.errors import ConfigError
from scaling.model_specs import MAX_KEPT_ELEMENTS


def mix_ref(zxBCdt_BLX: Tensor, w: Weights, eps: float, ids: Tensor | None = None) -> Tensor:
    """The definition, in float64, one token at a time. Slow; what `mix` is tested against."""
    w = Weights(*(t.double() for t in w))
    z_BLI, xBC_BLC, dt_BLH = zxBCdt_BLX.double().split(w.splits, -1)
    h_BLC, taps = w.conv_bias_C.expand_as(xBC_BLC), w.conv_C1K.shape[-1]
    for back in range(taps):
        past_BLC = F.pad(xBC_BLC, (0, 0, back, 0))[:, : xBC_BLC.shape[1]]
        if ids is not None:
            past_BLC = past_BLC * (F.pad(ids, (back, 0), value=-1)[:, : ids.shape[1]] == ids).unsqueeze(-1)
        h_BLC = h_BLC + past_BLC * w.conv_C1K[:, 0, taps - 1 - back]
    x_BLI, B_BLN, C_BLN = F.silu(h_BLC).split(w.parts, -1)
    dt_BLH = F.softplus(dt_BLH + w.dt_bias_H)
    x_BLHP = x_BLI.unflatten(-1, (len(w.A_H), -1))
    y_BLHP = scan_ref(ScanInputs(x_BLHP, dt_BLH, w.A_H, B_BLN, C_BLN, w.D_H, ids)).y_BLHP
    return F.rms_norm(y_BLHP.flatten(2) * F.silu(z_BLI), w.norm_I.shape, w.norm_I, eps)


def mix(zxBCdt_BLX: Tensor, w: Weights, eps: float, ids: Tensor | None = None) -> Tensor:
    """norm(scan(silu(conv(xBC))) * silu(z)) (B, L, I), in the dtype of its input: (z, x, B, C, dt) side by side as the
    input projection gives them, dt before its bias and softplus.

    ids (B, L), integers that never decrease along a row: state and convolution are reset where the id changes.
    Arithmetic is float32 also under autocast and for half precision inputs; float64 stays float64. Raises
    ConfigError."""
    uneven = len(w.norm_I) % len(w.A_H) or sum(w.parts) != len(w.conv_C1K)
    if uneven or sum(w.splits) != zxBCdt_BLX.shape[-1]:
        raise ConfigError(
            f"{zxBCdt_BLX.shape[-1]} channels are not {w.splits} for z, (x, B, C) and dt of {len(w.A_H)} heads"
        )
    traced = torch.compiler.is_exporting() or (torch.compiler.is_compiling() and not zxBCdt_BLX.is_cuda)
    if traced or zxBCdt_BLX.is_meta:
        return cast(Tensor, mixer(zxBCdt_BLX, *w, eps, ids))
    return _eager(zxBCdt_BLX, w, eps, ids)


@torch.compiler.disable  # on CUDA torch.compile makes one call of mamba-ssm between two graphs of it
def _eager(zxBCdt_BLX: Tensor, w: Weights, eps: float, ids: Tensor | None) -> Tensor:
    check_scan(zxBCdt_BLX, ids)
    if zxBCdt_BLX.is_cuda and mamba_ssm()[0] is not None:
        return mamba_ssm_mix(zxBCdt_BLX, *w, eps, ids)
    small = zxBCdt_BLX.shape[:2].numel() * len(w.norm_I) <= MAX_KEPT_ELEMENTS
    # What _MixKept keeps is out of reach of hooks of saved tensors, by which torch's checkpointing drops them.
    hooked = torch._C._autograd._top_saved_tensors_default_hooks(False) is not None
    if small and not hooked and not torch._C._are_functorch_transforms_active():
        return _MixKept.apply(zxBCdt_BLX, *w, eps, ids)
    return _Mix.apply(zxBCdt_BLX, *w, eps, ids)[0]


# What the Functions below take and save, in their order.
_T = Tensor
_Inputs = tuple[_T, _T, _T, _T, _T, _T, _T, float, _T | None]  # zxBCdt, Weights, eps, ids
_Saved = tuple[_T, _T, _T, _T, _T, _T, _T, _T, _T | None]  # zxBCdt, Weights, states_BSNI, ids
_Backward = tuple[_T, _T, _T, _T, _T, _T, _T, _T, _T, _T | None, float]  # g_BLI, _Saved, eps
_Dims = tuple[int | None, ...]  # dimensions that torch.vmap maps over, of each input or output


class _MixKeptContext(FunctionCtx):
    tiling: Tiling
    tiles: list[Tile]
    dtypes: list[torch.dtype]
    needs_input_grad: tuple[bool, ...]


class _MixContext(FunctionCtx):
    saved_tensors: _Saved
    eps: float


class _VmapInfo(Protocol):
    batch_size: int


class _MixKept(torch.autograd.Function):
    """The mixer for small inputs, which keeps all that backward needs: only the gate and its norm are computed
    twice."""

    @staticmethod
    def forward(ctx: _MixKeptContext, *inputs: object) -> Tensor:
        zxBCdt, *w, eps, ids = cast(_Inputs, inputs)
        with torch.autocast(zxBCdt.device.type, enabled=False):
            ctx.tiling = Tiling(zxBCdt, w, eps, ids)
            out_BLI, _, ctx.tiles = forward(ctx.tiling, keep=any(ctx.needs_input_grad))
        ctx.dtypes = [t.dtype for t in (zxBCdt, *w)]
        return out_BLI.to(zxBCdt.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: _MixKeptContext, g_BLI: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(g_BLI.device.type, enabled=False):
            return *backward(ctx.tiling, g_BLI, lambda i, at: ctx.tiles[i], ctx.dtypes), None, None


class _Mix(torch.autograd.Function):
    """Returns the output, and the state before every tile, from which backward recomputes the tile."""

    @staticmethod
    def forward(*inputs: object) -> tuple[Tensor, Tensor]:
        zxBCdt, *w, eps, ids = cast(_Inputs, inputs)
        with torch.autocast(zxBCdt.device.type, enabled=False):
            out_BLI, states_BSNI, _ = forward(Tiling(zxBCdt, w, eps, ids), keep=False)
        return out_BLI.to(zxBCdt.dtype), states_BSNI

    @staticmethod
    def setup_context(ctx: _MixContext, inputs: _Inputs, output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.eps, ids = inputs[7:]
        ctx.save_for_backward(*inputs[:7], output[1], cast(Tensor, ids))  # None as well

    @staticmethod
    @once_differentiable
    def backward(ctx: _MixContext, g_BLI: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        if g_BLI is None:
            return (None,) * 9
        return *_MixBackward.apply(g_BLI, *ctx.saved_tensors, ctx.eps), None, None

    @staticmethod
    def vmap(info: _VmapInfo, in_dims: _Dims, *inputs: object) -> tuple[tuple[Tensor, ...], _Dims]:
        return _one_by_one(_Mix, info, in_dims, inputs)


class _MixBackward(torch.autograd.Function):
    """A Function of its own, so that it can have a vmap of its own for torch.func."""

    @staticmethod
    def forward(*inputs: object) -> tuple[Tensor, ...]:
        g_BLI, zxBCdt, *w, states_BSNI, ids, eps = cast(_Backward, inputs)
        with torch.autocast(g_BLI.device.type, enabled=False):
            tiling = Tiling(zxBCdt, w, eps, ids)
            return backward(tiling, g_BLI, recomputed(tiling, states_BSNI), [t.dtype for t in (zxBCdt, *w)])

    @staticmethod
    def setup_context(ctx: object, inputs: object, output: object) -> None:
        pass

    @staticmethod
    def vmap(info: _VmapInfo, in_dims: _Dims, *inputs: object) -> tuple[tuple[Tensor, ...], _Dims]:
        return _one_by_one(_MixBackward, info, in_dims, inputs)


def _one_by_one(
    function: type[torch.autograd.Function], info: _VmapInfo, in_dims: _Dims, inputs: Sequence[object]
) -> tuple[tuple[Tensor, ...], _Dims]:
    """vmap as a loop: the length of chunks depends on the values."""
    mapped = list(zip(inputs, in_dims, strict=True))
    results = [
        function.apply(*(t if d is None else cast(Tensor, t).select(d, i) for t, d in mapped))
        for i in range(info.batch_size)
    ]
    return tuple(torch.stack(parts) for parts in zip(*results, strict=True)), (0,) * len(results[0])
