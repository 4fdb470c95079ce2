"""The passes of mixer_tile.py over a tile: convolution and SiLU, skip connection, gate and norm, products by head, and
states from chunk to chunk.

TilePasses describes what each does. TorchPasses, here, does it in torch's operations, on every device; CompiledPasses,
in tile_kernels.py, reads and writes a tile once a pass, on a CPU. Letters as in mixer_tile.py; d before a name: its
gradient.
"""

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.backbones.ssd.rms_norm import norm_backward, rate_of
from scaling.backbones.ssd.ssd_scan import scale_heads

ROWS = 64  # number of partial sums of the convolution's weight gradient


class Read(NamedTuple):
    """What the convolution of a tile reads."""

    xBC_gVC: Tensor  # tokens before the tile, then its own
    before: int  # of the former: at most K - 1, fewer at the beginning of a sequence
    # Number of tokens before each that are of its segment, at most K - 1 (uint8), for the tile's tokens and the K - 1
    # after it; None: a sequence is one segment.
    reach_gV: Tensor | None


class Convolution(NamedTuple):
    """The depthwise convolution: weights by the number of tokens back, and biases."""

    weight_KC: Tensor
    bias_C: Tensor


class FromScan(NamedTuple):
    """Gradients of x without its skip connection, B and C, and of y, which the skip connection passes on."""

    x_gSI: Tensor
    B_gSN: Tensor
    C_gSN: Tensor
    y_gSI: Tensor


class Gate(NamedTuple):
    """What is done to the output of the scan: y = scanned + skip * x; out = norm(y * silu(z)) * weight."""

    skip_I: Tensor
    weight_I: Tensor


class TilePasses(Protocol):
    @staticmethod
    def conv_silu(read: Read, conv: Convolution, parts: list[int], filled: int) -> tuple[Tensor, ...]:
        """silu(conv(x, B, C)) of each of the parts, channels of x, B and C: (g, filled, channels), with zeros after the
        tile's tokens."""

    @staticmethod
    def conv_silu_backward(
        read: Read,
        conv: Convolution,
        grads: FromScan,
        skip_I: Tensor,
        after_gKC: Tensor | None,
        dxBC_gSC: Tensor,
        to: Convolution,
    ) -> Tensor:
        """Gradients: of what was read by the tile's tokens and those after it into dxBC, of the weights added to `to`.
        Returns that of the convolution's output at the first K - 1 tokens, 0 beyond the tile, which is what the tile
        before it takes as after_gKC."""

    @staticmethod
    def gated_norm(scanned_gSI: Tensor, x_gSI: Tensor, z_gSI: Tensor, gate: Gate, eps: float, out_gSI: Tensor) -> None:
        """The output of the gate, into out."""

    @staticmethod
    def gated_norm_backward(
        g_gSI: Tensor,
        scanned_gSI: Tensor,
        x_gSI: Tensor,
        z_gSI: Tensor,
        gate: Gate,
        eps: float,
        dz_gSI: Tensor,
        to: Gate,
        filled: int,
    ) -> Tensor:
        """Gradient of y (g, filled, I), with zeros after the tile's tokens, from that of the output; that of z into dz,
        those of skip and weight added to `to`."""

    @staticmethod
    def scaled_and_dots(
        x_nTI: Tensor, other_nTI: Tensor, factor_nTH: Tensor, dots_nTH: Tensor, out_nTI: Tensor | None = None
    ) -> Tensor:
        """x times a factor per head, into out or a new tensor; the products x . other of every head into dots."""

    @staticmethod
    def chain(
        x_nNI: Tensor, state_gNI: Tensor, given_n1H: Tensor, taken_n1H: Tensor, through_n1H: Tensor, reverse: bool
    ) -> None:
        """Carry a state through the chunks of every image, in place: a chunk's x becomes given * state, and the state
        through * state + taken * x, all by head; with reverse from the last chunk to the first."""


class TorchPasses:
    @staticmethod
    def conv_silu(read: Read, conv: Convolution, parts: list[int], filled: int) -> tuple[Tensor, ...]:
        act_gSC = F.silu(_convolved(_from_taps(read, conv), read, conv), inplace=True)
        return _filled(act_gSC, filled).split(parts, -1)

    @staticmethod
    def conv_silu_backward(
        read: Read,
        conv: Convolution,
        grads: FromScan,
        skip_I: Tensor,
        after_gKC: Tensor | None,
        dxBC_gSC: Tensor,
        to: Convolution,
    ) -> Tensor:
        xBC_gVC, past = _from_taps(read, conv), len(conv.weight_KC) - 1
        tokens = xBC_gVC.shape[1] - past
        dact_gSC = torch.cat([torch.addcmul(grads.x_gSI, grads.y_gSI, skip_I), grads.B_gSN, grads.C_gSN], -1)
        dh_gVC = torch.empty_like(xBC_gVC)  # the tile's tokens, then those after it
        dh_gSC = dh_gVC[:, :tokens]
        h_gSC = _convolved(xBC_gVC, read, conv)
        torch.ops.aten.silu_backward.grad_input(dact_gSC, h_gSC, grad_input=dh_gSC)
        dh_gVC[:, tokens:] = 0.0 if after_gKC is None else after_gKC
        to.bias_C.add_(dh_gSC.sum((0, 1)))
        if read.reach_gV is not None:
            _by_taps_backward(dh_gVC, xBC_gVC, read.reach_gV, conv, dxBC_gSC, to)
        else:
            d_gC1S = F.conv2d(_row(dh_gVC), conv.weight_KC.t()[:, None, None], groups=xBC_gVC.shape[2])
            dxBC_gSC.copy_(d_gC1S.squeeze(2).transpose(1, 2))
            _weight_gradient(dh_gVC, xBC_gVC, to)
        return dh_gVC[:, :past].clone()

    @staticmethod
    def gated_norm(scanned_gSI: Tensor, x_gSI: Tensor, z_gSI: Tensor, gate: Gate, eps: float, out_gSI: Tensor) -> None:
        u_gSI = F.silu(z_gSI).mul_(torch.addcmul(scanned_gSI, x_gSI, gate.skip_I))
        torch.mul(u_gSI.mul_(rate_of(u_gSI, eps)), gate.weight_I, out=out_gSI)

    @staticmethod
    def gated_norm_backward(
        g_gSI: Tensor,
        scanned_gSI: Tensor,
        x_gSI: Tensor,
        z_gSI: Tensor,
        gate: Gate,
        eps: float,
        dz_gSI: Tensor,
        to: Gate,
        filled: int,
    ) -> Tensor:
        y_gSI, silu_gSI = torch.addcmul(scanned_gSI, x_gSI, gate.skip_I), F.silu(z_gSI)
        u_gSI = y_gSI * silu_gSI
        du_gSI, dweight_I = norm_backward(g_gSI, u_gSI, gate.weight_I, rate_of(u_gSI, eps))
        to.weight_I.add_(dweight_I)
        dy_gSI = silu_gSI.mul_(du_gSI)
        torch.ops.aten.silu_backward.grad_input(du_gSI.mul_(y_gSI), z_gSI, grad_input=dz_gSI)
        to.skip_I.add_((dy_gSI * x_gSI).sum((0, 1)))
        return _filled(dy_gSI, filled)

    @staticmethod
    def scaled_and_dots(
        x_nTI: Tensor, other_nTI: Tensor, factor_nTH: Tensor, dots_nTH: Tensor, out_nTI: Tensor | None = None
    ) -> Tensor:
        products_nTI = x_nTI * other_nTI
        torch.sum(products_nTI.unflatten(-1, (factor_nTH.shape[-1], -1)), -1, out=dots_nTH)
        return scale_heads(x_nTI, factor_nTH, out=products_nTI if out_nTI is None else out_nTI)

    @staticmethod
    def chain(
        x_nNI: Tensor, state_gNI: Tensor, given_n1H: Tensor, taken_n1H: Tensor, through_n1H: Tensor, reverse: bool
    ) -> None:
        images, heads = len(state_gNI), given_n1H.shape[2]
        x_gcNHP = x_nNI.view(images, -1, state_gNI.shape[1], heads, state_gNI.shape[2] // heads)
        given, taken, through = (t.view(images, -1, 1, heads, 1) for t in (given_n1H, taken_n1H, through_n1H))
        count = x_gcNHP.shape[1]
        # One operation per chunk, the rest for all at once.
        added_gcNHP = x_gcNHP * taken
        states = [state_gNI.view(x_gcNHP[:, 0].shape)]
        for i in reversed(range(count)) if reverse else range(count):
            states.append(torch.addcmul(added_gcNHP[:, i], states[-1], through[:, i]))
        before = states[-2::-1] if reverse else states[:-1]
        torch.mul(torch.stack(before, 1), given, out=x_gcNHP)
        state_gNI.copy_(states[-1].flatten(2))


def _filled(x_gSX: Tensor, tokens: int) -> Tensor:
    """With zeros up to so many tokens."""
    return F.pad(x_gSX, (0, 0, 0, tokens - x_gSX.shape[1])) if x_gSX.shape[1] < tokens else x_gSX


def _from_taps(read: Read, conv: Convolution) -> Tensor:
    """The tile's tokens after K - 1 before it, zeros before the sequence (g, V, C)."""
    missing = len(conv.weight_KC) - 1 - read.before
    return F.pad(read.xBC_gVC, (0, 0, missing, 0)) if missing else read.xBC_gVC.contiguous()


def _convolved(xBC_gVC: Tensor, read: Read, conv: Convolution) -> Tensor:
    """The convolution before its SiLU (g, S, C)."""
    weight_KC, bias_C = conv
    past = len(weight_KC) - 1
    if read.reach_gV is None:
        # Tokens are channels-last already, for which a conv2d of height 1 is fast in oneDNN; conv1d is not.
        weight_C11K = weight_KC.flip(0).t()[:, None, None]
        return F.conv2d(_row(xBC_gVC), weight_C11K, bias_C, groups=len(bias_C)).squeeze(2).transpose(1, 2)
    tokens = xBC_gVC.shape[1] - past
    h_gSC = bias_C.expand(len(xBC_gVC), tokens, -1)
    for back in range(past + 1):
        linked_gS1 = (read.reach_gV[:, :tokens] >= back).unsqueeze(-1)
        h_gSC = h_gSC + xBC_gVC[:, past - back : past - back + tokens] * linked_gS1 * weight_KC[back]
    return h_gSC


def _by_taps_backward(
    dh_gVC: Tensor, xBC_gVC: Tensor, reach_gV: Tensor, conv: Convolution, dxBC_gSC: Tensor, to: Convolution
) -> None:
    """Gradients of what was read and of the weight where the convolution is reset at segments, tap by tap."""
    past, tokens = len(conv.weight_KC) - 1, dxBC_gSC.shape[1]
    torch.mul(dh_gVC[:, :tokens], conv.weight_KC[0], out=dxBC_gSC)
    for back in range(past + 1):
        linked_gV1 = (reach_gV >= back).unsqueeze(-1)
        linked_gVC = dh_gVC * linked_gV1
        read_gSC = xBC_gVC[:, past - back : past - back + tokens]
        to.weight_KC[back] += (linked_gVC[:, :tokens] * read_gSC).sum((0, 1))
        if back:
            dxBC_gSC += linked_gVC[:, back : back + tokens] * conv.weight_KC[back]


def _weight_gradient(dh_gVC: Tensor, xBC_gVC: Tensor, to: Convolution) -> None:
    """Products of every tap, some rows at a time, so that sums and not products go to memory. Images follow each other,
    and between them dh is 0: a tile of several has all their tokens."""
    taps, (images, padded, channels) = len(to.weight_KC), dh_gVC.shape
    rows = images * padded - (taps - 1)
    dh_VC = dh_gVC.flatten(0, 1)[:rows]
    read_KVC = xBC_gVC.flatten(0, 1).unfold(0, rows, 1).transpose(1, 2)
    sums_KRC = dh_gVC.new_zeros(taps, ROWS, channels)
    for dh_RC, read_KRC in zip(dh_VC.split(ROWS), read_KVC.split(ROWS, 1), strict=True):
        sums_KRC[:, : len(dh_RC)].addcmul_(dh_RC, read_KRC)
    to.weight_KC.add_(sums_KRC.sum(1).flip(0))


def _row(x_BLC: Tensor) -> Tensor:
    """(B, C, 1, L): tokens as a one-row image in channels-last memory, without a copy."""
    return x_BLC.transpose(1, 2).unsqueeze(2)
