"""What a Mamba-2 mixer does between its two projections, in one call: convolution, SiLU, scan, gate and norm.

Source: Mamba-2, arXiv 2405.21060; the scan is that of ssd_scan.py, whose letters these are. On CUDA with mamba-ssm it
is one kernel of theirs. Else one autograd.Function walks over stretches of tokens that stay in cache (mixer_tile.py),
keeps the state before each and recomputes the rest in its backward; small inputs keep what backward needs.

B batch, L tokens, I = H * P inner channels, N state size, C = I + 2 N channels of (x, B, C), K taps of the convolution,
X = I + C + H channels of (z, x, B, C, dt).
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from scaling.backbones.ssd.mixer_tile import Stretch
from scaling.backbones.ssd.mixer_tiling import Gradients, Place, Walk, Weights
from scaling.backbones.ssd.rms_norm import rate_of
from scaling.backbones.ssd.ssd_scan import check_scan, mamba_ssm, mamba_ssm_mix, scan_ref
from scaling.errors import ConfigError
from scaling.model_specs import KEPT


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
    y_BLHP = scan_ref(x_BLI.unflatten(-1, (len(w.A_H), -1)), dt_BLH, w.A_H, B_BLN, C_BLN, w.D_H, ids)
    return F.rms_norm(y_BLHP.flatten(2) * F.silu(z_BLI), w.norm_I.shape, w.norm_I, eps)


@torch.compiler.disable  # under torch.compile this is one call between two graphs
def mix(zxBCdt_BLX: Tensor, w: Weights, eps: float, ids: Tensor | None = None) -> Tensor:
    """norm(scan(silu(conv(xBC))) * silu(z)) (B, L, I), in the dtype of its input: (z, x, B, C, dt) side by side as the
    projection in front gives them, dt before its bias and softplus.

    ids (B, L), integers that never decrease along a row: state and convolution start anew where the id changes.
    Arithmetic is float32 also under autocast and for half precision inputs; float64 stays float64. Raises
    ConfigError."""
    check_scan(zxBCdt_BLX, ids)
    uneven = len(w.norm_I) % len(w.A_H) or sum(w.parts) != len(w.conv_C1K)
    if uneven or sum(w.splits) != zxBCdt_BLX.shape[-1]:
        raise ConfigError(
            f"{zxBCdt_BLX.shape[-1]} channels are not {w.splits} for z, (x, B, C) and dt of {len(w.A_H)} heads"
        )
    if zxBCdt_BLX.is_cuda and mamba_ssm()[0] is not None:
        return mamba_ssm_mix(zxBCdt_BLX, *w, eps, ids)
    small = zxBCdt_BLX.shape[:2].numel() * len(w.norm_I) <= KEPT
    if small and not torch._C._are_functorch_transforms_active():
        return _MixKept.apply(zxBCdt_BLX, *w, eps, ids)
    return _Mix.apply(zxBCdt_BLX, *w, eps, ids)[0]


def _forward(walk: Walk, keep: bool) -> tuple[Tensor, Tensor, list[Stretch]]:
    """Output, the state that came to every stretch but the first ones, and with keep the stretches."""
    inner, states, _ = walk.w.parts
    out_BLI = walk.w.A_H.new_empty(walk.batch, walk.length, inner)
    came_BSNI = walk.w.A_H.new_empty(walk.batch, walk.count - 1, states, inner)
    kept: list[Stretch] = []
    after_gNI: Tensor | None = None
    for at in walk.places():
        if at.number == 0:
            after_gNI = None
        elif after_gNI is not None:
            came_BSNI[at.rows, at.number - 1] = after_gNI
        stretch = Stretch(walk, at, after_gNI, keep)
        after_gNI = stretch.after_gNI
        u_gSI = F.silu(stretch.z_gSI).mul_(stretch.y_gSI)
        u_gSI.mul_(rate_of(u_gSI, walk.eps))
        torch.mul(u_gSI, walk.w.norm_I, out=out_BLI[at.rows, at.tokens])
        if keep:
            kept.append(stretch)
    return out_BLI, came_BSNI, kept


def _backward(walk: Walk, g_BLI: Tensor, stretch_at: Callable[[int, Place], Stretch], dtypes: list[torch.dtype]) -> Any:
    """Gradients of the inputs; stretch_at gives a stretch that has kept what it needs, by number in all and place."""
    grads = Gradients(walk)
    for i, at in reversed(list(enumerate(walk.places()))):
        stretch_at(i, at).backward(g_BLI[at.rows, at.tokens].to(walk.work), grads)
    return tuple(grads.as_inputs(dtypes))


class _MixKept(torch.autograd.Function):
    """For inputs so small that what backward needs may stay: only the gate and its norm are computed twice."""

    @staticmethod
    def forward(ctx: Any, zxBCdt: Tensor, *rest: Any) -> Tensor:
        with torch.autocast(zxBCdt.device.type, enabled=False):
            ctx.walk = Walk(zxBCdt, *rest)
            out_BLI, _, ctx.stretches = _forward(ctx.walk, keep=any(ctx.needs_input_grad))
        ctx.dtypes = [t.dtype for t in (zxBCdt, *rest[:6])]
        return out_BLI.to(zxBCdt.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_BLI: Tensor) -> Any:
        with torch.autocast(g_BLI.device.type, enabled=False):
            return *_backward(ctx.walk, g_BLI, lambda i, at: ctx.stretches[i], ctx.dtypes), None, None


class _Mix(torch.autograd.Function):
    """Gives the output, and the state before every stretch, from which backward recomputes it."""

    @staticmethod
    def forward(zxBCdt: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        with torch.autocast(zxBCdt.device.type, enabled=False):
            out_BLI, came_BSNI, _ = _forward(Walk(zxBCdt, *rest), keep=False)
        return out_BLI.to(zxBCdt.dtype), came_BSNI

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.eps, ids = inputs[7:]
        ctx.save_for_backward(*inputs[:7], output[1], ids)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_BLI: Tensor | None, _: None) -> Any:
        if g_BLI is None:
            return (None,) * 9
        return *_MixBackward.apply(g_BLI, *ctx.saved_tensors, ctx.eps), None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        return _one_by_one(_Mix, info, in_dims, inputs)


class _MixBackward(torch.autograd.Function):
    """A Function of its own for torch.func's sake: what vmap is to do with it can be said."""

    @staticmethod
    def forward(g_BLI: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        *inputs, came_BSNI, ids, eps = rest
        with torch.autocast(g_BLI.device.type, enabled=False):
            walk = Walk(*inputs, eps, ids)

            def again(i: int, at: Place) -> Stretch:
                return Stretch(walk, at, came_BSNI[at.rows, at.number - 1] if at.number else None, keep=True)

            return _backward(walk, g_BLI, again, [t.dtype for t in inputs])

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        return _one_by_one(_MixBackward, info, in_dims, inputs)


def _one_by_one(function: Any, info: Any, in_dims: Any, inputs: Any) -> Any:
    """vmap as a loop: how long chunks may be depends on the numbers."""
    results = [
        function.apply(*(t if d is None else t.select(d, i) for t, d in zip(inputs, in_dims, strict=True)))
        for i in range(info.batch_size)
    ]
    return tuple(torch.stack(parts) for parts in zip(*results, strict=True)), (0,) * len(results[0])
