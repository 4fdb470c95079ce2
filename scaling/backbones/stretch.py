"""A stretch of tokens of mix.py's walk: forward, and a backward that recomputes.

The backward is written by hand for decays that factor around the middle of a chunk, so that all heads share one product
(the usual ones); the others go through autograd, a stretch at a time.

Letters as in scan.py and mix.py. Inside: g images and S tokens of a stretch, V = K - 1 + S with the tokens before it
that its convolution sees; n = g * c chunks of T tokens; d before a name: the gradient of it.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.backbones.rms_norm import norm_backward, rate_of
from scaling.backbones.scan import Link, chunked, decay_sums, scale_heads
from scaling.backbones.walk import ROWS, Gradients, Place, Walk, Weights


class Chunks(NamedTuple):
    """A stretch's scan, decays factored around the middle of every chunk: exp(s_i - s_j) = rise_i * fall_j."""

    x_nTI: Tensor  # a view, as B and C are
    B_nTN: Tensor
    C_nTN: Tensor
    dt_nTH: Tensor
    rise_nTH: Tensor
    fall_nTH: Tensor
    to_mid_n1H: Tensor  # decay from a chunk's beginning to its middle
    from_mid_n1H: Tensor  # and from there to its end
    through_n1H: Tensor  # and all the way, 0 where no state passes
    W_nTI: Tensor  # x * dt * fall
    link: Link
    state_gxNHP: Tensor  # before every chunk, and after the last
    start_nNI: Tensor  # the state before a chunk, decayed to its middle
    yE_nTI: Tensor  # the output, but for D x


class Stretch:
    """One stretch of the walk: forward, and backward from the state before it."""

    def __init__(self, walk: Walk, at: Place) -> None:
        self.walk, self.at = walk, at
        self.z_gSI = walk.z[at.rows, at.tokens].to(walk.work)
        self.dt_gSH = F.softplus(self._dt_before())
        self.ids_gS = None if walk.ids is None else walk.ids[at.rows, at.tokens]
        past = walk.taps - 1  # tokens before the stretch that its convolution sees
        if at.number == 0:
            self.xBC_gVC = F.pad(walk.xBC[at.rows, at.tokens].to(walk.work), (0, 0, past, 0))
        else:
            self.xBC_gVC = walk.xBC[at.rows, at.tokens.start - past : at.tokens.stop].to(walk.work).contiguous()
        self.same_KgS1 = None if walk.same_KBL1 is None else walk.same_KBL1[:, at.rows, at.tokens]

    def _dt_before(self) -> Tensor:
        return self.walk.dt[self.at.rows, self.at.tokens].to(self.walk.work) + self.walk.w.dt_bias_H

    def state_before(self, state_gNI: Tensor | None) -> Tensor:
        """The state to begin with, from that after the stretch before this one: nothing of another segment's."""
        if state_gNI is None or self.at.number == 0:
            return self.z_gSI.new_zeros(len(self.z_gSI), self.walk.w.parts[1], self.walk.w.parts[0])
        return state_gNI * self._goes_on()

    def _goes_on(self) -> Tensor | float:
        """1 where the stretch begins in the segment that the one before it ended in, else 0."""
        if self.same_KgS1 is None or self.at.number == 0:
            return 1.0
        return self.same_KgS1[1, :, :1]

    def convolution(self) -> Tensor:
        """Before its SiLU (g, S, C)."""
        w = self.walk.w
        if self.same_KgS1 is not None:
            return _by_taps(self.xBC_gVC, w, self.same_KgS1)
        # Tokens lie channels last already, and there a conv2d of height 1 is oneDNN's fast road; conv1d is not.
        h_gC1S = F.conv2d(_row(self.xBC_gVC), w.conv_C1K.unsqueeze(2), w.conv_bias_C, groups=len(w.conv_C1K))
        return h_gC1S.squeeze(2).transpose(1, 2)

    def scan(self, state_gNI: Tensor) -> tuple[Tensor, Tensor]:
        """Output (g, S, I) before the gate, and the state after the stretch."""
        xBC_gSC = F.silu(self.convolution(), inplace=True)
        if not self.walk.factored:
            return self._scan_any_decay(xBC_gSC, self.dt_gSH, state_gNI, self.walk.w)
        chunks, state_gNI = self._chunks(xBC_gSC, state_gNI)
        y_nTI = chunks.yE_nTI.addcmul_(chunks.x_nTI, self.walk.D_I)
        return self._tokens_of(y_nTI), state_gNI

    def _tokens_of(self, x_nTX: Tensor) -> Tensor:
        """Chunks to tokens (g, S, X), those that fill the last chunk up left out."""
        return x_nTX.view(len(self.z_gSI), -1, x_nTX.shape[-1])[:, : self.z_gSI.shape[1]]

    def _chunks_of(self, x_gSX: Tensor) -> Tensor:
        """Tokens to chunks (n, T, X), the last one filled up with zeros: dt = 0 neither decays nor feeds a state."""
        pad = -x_gSX.shape[1] % self.walk.chunk
        x_gSX = F.pad(x_gSX, (0, 0, 0, pad)) if pad else x_gSX
        return x_gSX.reshape(-1, self.walk.chunk, x_gSX.shape[-1])

    def _chunks(self, xBC_gSC: Tensor, state_gNI: Tensor) -> tuple[Chunks, Tensor]:
        """The scan of a stretch, with all that backward needs of it, and the state after."""
        walk, images = self.walk, len(xBC_gSC)
        x_nTI, B_nTN, C_nTN = self._chunks_of(xBC_gSC).split(walk.w.parts, -1)
        dt_nTH = self._chunks_of(self.dt_gSH)
        sum_nTH, mid_n1H = decay_sums(dt_nTH, walk.w.A_H)
        rise_nTH, fall_nTH = torch.exp(sum_nTH - mid_n1H).to(walk.work), torch.exp(mid_n1H - sum_nTH).to(walk.work)
        to_mid_n1H, from_mid_n1H = torch.exp(mid_n1H).to(walk.work), rise_nTH[:, -1:].contiguous()
        link = Link.of(B_nTN, C_nTN, self.ids_gS, len(x_nTI) // images)
        through_n1H = torch.exp(sum_nTH[:, -1:]).to(walk.work) * link.keep_b11
        W_nTI = scale_heads(x_nTI, dt_nTH * fall_nTH)
        add_nNI = torch.bmm(link.leave_bTN.transpose(1, 2), W_nTI)
        state_gxNHP = self._states(state_gNI, add_nNI, from_mid_n1H, through_n1H)
        start_nNI = torch.mul(state_gxNHP[:, :-1], self._by_chunk(to_mid_n1H)).view_as(add_nNI)
        V_nTI = torch.bmm(link.G_bTT, W_nTI).baddbmm_(link.enter_bTN, start_nNI)
        yE_nTI = scale_heads(V_nTI, rise_nTH, out=V_nTI)
        exps = rise_nTH, fall_nTH, to_mid_n1H, from_mid_n1H, through_n1H
        k = Chunks(x_nTI, B_nTN, C_nTN, dt_nTH, *exps, W_nTI, link, state_gxNHP, start_nNI, yE_nTI)
        return k, state_gxNHP[:, -1].flatten(2)

    def _states(self, state_gNI: Tensor, add_nNI: Tensor, from_mid_n1H: Tensor, through_n1H: Tensor) -> Tensor:
        """The state before every chunk, and after the last (g, c + 1, N, H, P). add: what a chunk brings, as at its
        middle. One operation a chunk, the rest for all at once."""
        add_gcNHP = self._by_chunk(add_nNI)
        images, count, *shape = add_gcNHP.shape
        state_gxNHP = add_nNI.new_empty(images, count + 1, *shape)
        state_gxNHP[:, 0] = self._by_heads(state_gNI)
        torch.mul(add_gcNHP, self._by_chunk(from_mid_n1H), out=state_gxNHP[:, 1:])
        states, through = state_gxNHP.unbind(1), self._by_chunk(through_n1H).unbind(1)
        for i in range(count):
            states[i + 1].addcmul_(states[i], through[i])
        return state_gxNHP

    def _by_heads(self, x_nXI: Tensor) -> Tensor:
        """(n, X, H, P), from channels or, (n, X, H, 1), from numbers a head."""
        return x_nXI.unflatten(-1, (self.walk.heads, -1))

    def _by_chunk(self, x_nXI: Tensor) -> Tensor:
        """(g, c, X, H, P), or (g, c, X, H, 1) from numbers a head, or (g, c, X, 1, 1) from one number a chunk."""
        heads = self.walk.heads if x_nXI.shape[-1] > 1 else 1
        return x_nXI.view(len(self.z_gSI), -1, x_nXI.shape[1], heads, x_nXI.shape[-1] // heads)

    def backward(self, g_gSI: Tensor, state_gNI: Tensor, to: Gradients) -> None:
        """Add this stretch's gradients, from that of its output and, in `to`, that of the state after it."""
        walk = self.walk
        h_gSC = self.convolution()
        k, _ = self._chunks(F.silu(h_gSC), state_gNI)
        y_gSI = self._tokens_of(torch.addcmul(k.yE_nTI, k.x_nTI, walk.D_I))
        dy_gSI = self._gate_and_norm_backward(g_gSI, y_gSI, to)
        dxBC_nTC = self._scan_backward(self._chunks_of(dy_gSI), k, to)
        self._convolution_backward(self._tokens_of(dxBC_nTC), h_gSC, to)

    def _gate_and_norm_backward(self, g_gSI: Tensor, y_gSI: Tensor, to: Gradients) -> Tensor:
        walk, z_gSI = self.walk, self.z_gSI
        gate_gSI = F.silu(z_gSI)
        u_gSI = y_gSI * gate_gSI
        du_gSI, dnorm_I = norm_backward(g_gSI, u_gSI, walk.w.norm_I, rate_of(u_gSI, walk.eps))
        to.w.norm_I.add_(dnorm_I)
        dy_gSI = gate_gSI.mul_(du_gSI)
        dz_gSI = to.z[self.at.rows, self.at.tokens]
        torch.ops.aten.silu_backward.grad_input(du_gSI.mul_(y_gSI), z_gSI, grad_input=dz_gSI)
        return dy_gSI

    def _scan_backward(self, dy_nTI: Tensor, k: Chunks, to: Gradients) -> Tensor:
        """Gradient of (x, B, C) by chunks; adds those of dt, A, D and the state before."""
        walk, link = self.walk, k.link
        dxBC_nTC = dy_nTI.new_empty(*dy_nTI.shape[:2], sum(walk.w.parts))
        dx_nTI, dB_nTN, dC_nTN = dxBC_nTC.split(walk.w.parts, -1)
        room_nTI = dy_nTI * k.yE_nTI
        ds_nTH = self._head_sums(room_nTI)
        to.w.D_H.add_(self._head_sums(torch.mul(dy_nTI, k.x_nTI, out=room_nTI)).sum((0, 1)))
        dV_nTI = scale_heads(dy_nTI, k.rise_nTH, out=room_nTI)

        dstart_nNI = torch.bmm(link.enter_bTN.transpose(1, 2), dV_nTI)
        dafter_gcNHP = self._states_backward(dstart_nNI, k, to)
        dadd_nNI = torch.mul(dafter_gcNHP, self._by_chunk(k.from_mid_n1H)).view_as(dstart_nNI)
        dG_nTT = link.only_linked_(torch.bmm(dV_nTI, k.W_nTI.transpose(1, 2)))
        dW_nTI = torch.bmm(link.G_bTT.transpose(1, 2), dV_nTI).baddbmm_(link.leave_bTN, dadd_nNI)
        dC_nTN.copy_(link.only_entering_(torch.bmm(dV_nTI, k.start_nNI.transpose(1, 2))).baddbmm_(dG_nTT, k.B_nTN))
        dB_nTN.copy_(
            link.only_leaving_(torch.bmm(k.W_nTI, dadd_nNI.transpose(1, 2))).baddbmm_(dG_nTT.transpose(1, 2), k.C_nTN)
        )
        q_nTH = self._head_sums(torch.mul(dW_nTI, k.x_nTI, out=room_nTI)) * k.fall_nTH
        torch.addcmul(scale_heads(dW_nTI, k.dt_nTH * k.fall_nTH, out=dW_nTI), dy_nTI, walk.D_I, out=dx_nTI)

        ds_nTH -= q_nTH * k.dt_nTH
        ds_nTH[:, -1] += (dafter_gcNHP * k.state_gxNHP[:, 1:]).sum(-1).sum(2).flatten(0, 1)
        da_nTH = ds_nTH.flip(1).cumsum(1).flip(1)
        to.w.A_H.add_((da_nTH * k.dt_nTH).sum((0, 1)))
        ddt_gSH = self._tokens_of(q_nTH + da_nTH * walk.w.A_H) * torch.sigmoid(self._dt_before())
        to.add_dt(ddt_gSH, self.at)
        return dxBC_nTC

    def _states_backward(self, dstart_nNI: Tensor, k: Chunks, to: Gradients) -> Tensor:
        """Gradient of the state after every chunk (g, c, N, H, P); hands that of the one before the stretch on."""
        dstate_gxNHP = torch.empty_like(k.state_gxNHP)
        dstate_gxNHP[:, -1] = self._by_heads(to.state_after(self.at, dstart_nNI))
        torch.mul(self._by_chunk(dstart_nNI), self._by_chunk(k.to_mid_n1H), out=dstate_gxNHP[:, :-1])
        dstates, through = dstate_gxNHP.unbind(1), self._by_chunk(k.through_n1H).unbind(1)
        for i in reversed(range(len(through))):
            dstates[i].addcmul_(dstates[i + 1], through[i])
        to.state_gNI = dstates[0].flatten(2) * self._goes_on()
        return dstate_gxNHP[:, 1:]

    def _head_sums(self, x_nTI: Tensor) -> Tensor:
        return self._by_heads(x_nTI).sum(-1)

    def _convolution_backward(self, dxBC_gSC: Tensor, h_gSC: Tensor, to: Gradients) -> None:
        walk, past, tokens = self.walk, self.walk.taps - 1, h_gSC.shape[1]
        dh_gVC = torch.empty_like(self.xBC_gVC)  # the stretch's tokens, then those after it that saw its last ones
        dh_gSC = dh_gVC[:, :tokens]
        torch.ops.aten.silu_backward.grad_input(dxBC_gSC, h_gSC, grad_input=dh_gSC)
        to.w.conv_bias_C.add_(dh_gSC.sum((0, 1)))
        if self.same_KgS1 is not None:
            self._by_taps_backward(dh_gSC, to)
            return
        dh_gVC[:, tokens:] = 0.0
        if self.at.number < walk.count - 1 and to.dh_gKC is not None:
            dh_gVC[:, tokens:] = to.dh_gKC
        flipped_C11K = walk.w.conv_C1K.flip(2).unsqueeze(2)
        d_gC1S = F.conv2d(_row(dh_gVC), flipped_C11K, groups=len(flipped_C11K))
        to.xBC[self.at.rows, self.at.tokens] = d_gC1S.squeeze(2).transpose(1, 2)
        to.dh_gKC = dh_gVC[:, :past].clone()
        # The weight: every tap's products, some rows at a time, so that sums and not products go to memory. Images lie
        # one after the other, and between them dh is 0.
        rows = len(dh_gVC) * (tokens + past) - past
        dh_VC = dh_gVC.flatten(0, 1)[:rows]
        seen_KVC = self.xBC_gVC.flatten(0, 1).unfold(0, rows, 1).transpose(1, 2)
        for dh_RC, seen_KRC in zip(dh_VC.split(ROWS), seen_KVC.split(ROWS, 1), strict=True):
            to.taps_KRC[:, : len(dh_RC)].addcmul_(dh_RC, seen_KRC)

    def _scan_any_decay(self, xBC_gSC: Tensor, dt_gSH: Tensor, state_gNI: Tensor, w: Weights) -> tuple[Tensor, Tensor]:
        """`scan` in operations that autograd knows, whether decays factor or not."""
        x_gSI, B_gSN, C_gSN = xBC_gSC.split(self.walk.w.parts, -1)
        x_gSHP = x_gSI.unflatten(-1, (self.walk.heads, -1))
        state_gHPN = state_gNI.unflatten(-1, (self.walk.heads, -1)).permute(0, 2, 3, 1)
        y_gSHP, state_gHPN = chunked(x_gSHP, dt_gSH, w.A_H, B_gSN, C_gSN, w.D_H, self.ids_gS, state_gHPN, True)
        assert state_gHPN is not None
        return y_gSHP.flatten(2), state_gHPN.permute(0, 3, 1, 2).flatten(2)

    def backward_by_autograd(self, g_gSI: Tensor, state_gNI: Tensor, to: Gradients) -> None:
        """What `backward` does, whether decays factor or not."""
        walk, at, past = self.walk, self.at, self.walk.taps - 1
        with torch.enable_grad():
            z_gSI, xBC_gVC, dt_gSH, state_gNI = (
                t.detach().requires_grad_() for t in (self.z_gSI, self.xBC_gVC, self._dt_before(), state_gNI)
            )
            w = Weights(*(t.detach().requires_grad_() for t in walk.w))
            xBC_gSC = F.silu(_by_taps(xBC_gVC, w, self.same_KgS1))
            y_gSI, after_gNI = self._scan_any_decay(xBC_gSC, F.softplus(dt_gSH), state_gNI, w)
            u_gSI = F.silu(z_gSI) * y_gSI
            out_gSI = u_gSI * rate_of(u_gSI, walk.eps) * w.norm_I
        inputs = [z_gSI, xBC_gVC, dt_gSH, state_gNI, w.conv_C1K, w.conv_bias_C, w.A_H, w.D_H, w.norm_I]
        given = [g_gSI, to.state_after(at, after_gNI)]
        dz, dxBC, ddt, dstate, *dw = torch.autograd.grad([out_gSI, after_gNI], inputs, given)
        to.z[at.rows, at.tokens] = dz
        to.add_dt(ddt, at)
        to.state_gNI = dstate * self._goes_on()
        before = min(past, at.tokens.start)
        to.xBC[at.rows, at.tokens.start - before : at.tokens.stop] += dxBC[:, past - before :]
        for total, d in zip((to.w.conv_C1K, to.w.conv_bias_C, to.w.A_H, to.w.D_H, to.w.norm_I), dw, strict=True):
            total.add_(d)

    def _by_taps_backward(self, dh_gSC: Tensor, to: Gradients) -> None:
        """Gradients of xBC and of the weight where the convolution starts anew with segments, tap by tap."""
        assert self.same_KgS1 is not None
        tokens, past, dxBC_gLC = self.at.tokens, self.walk.taps - 1, to.xBC[self.at.rows]
        for back in range(self.walk.taps):
            late = max(0, back - tokens.start)  # tokens that see nothing there: the sequence begins after it
            d_gSC = dh_gSC * self.same_KgS1[back]
            seen_gSC = self.xBC_gVC[:, past - back : past - back + d_gSC.shape[1]]
            to.w.conv_C1K[:, 0, past - back].add_((d_gSC * seen_gSC).sum((0, 1)))
            d_gSC = d_gSC[:, late:] * self.walk.w.conv_C1K[:, 0, past - back]
            start = tokens.start + late - back
            dxBC_gLC[:, start : start + d_gSC.shape[1]] += d_gSC


def _row(x_BLC: Tensor) -> Tensor:
    """(B, C, 1, L): tokens as a one-row image in channels-last memory, without a copy."""
    return x_BLC.transpose(1, 2).unsqueeze(2)


def _by_taps(x_gVC: Tensor, w: Weights, same_KgS1: Tensor | None) -> Tensor:
    """The convolution, tap by tap; the first K - 1 tokens are only seen."""
    past = w.conv_C1K.shape[-1] - 1
    h_gSC = w.conv_bias_C
    for back in range(past + 1):
        seen_gSC = x_gVC[:, past - back : x_gVC.shape[1] - back]
        if same_KgS1 is not None:
            seen_gSC = seen_gSC * same_KgS1[back]
        h_gSC = h_gSC + seen_gSC * w.conv_C1K[:, 0, past - back]
    return h_gSC
