"""The scan of some heads over a stretch of tokens, forward and backward, in two ways with one face.

FactoredScan   decays factored around the middle of every chunk, exp(s_i - s_j) = rise_i * fall_j, so that all heads
               share one product; backward by hand
AnyDecayScan   whatever the decays, by scan.chunked and autograd

Letters as in scan.py and mix.py; g images and S tokens of a stretch, cut into n = g * c chunks of T tokens, I = H * P
the channels of these heads; d before a name: the gradient of it. D is not in it: the skip is added outside.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.backbones.scan import Link, chunked, decay_sums, scale_heads


class Inputs(NamedTuple):
    """Of a scan, or their gradients."""

    x_gSI: Tensor
    B_gSN: Tensor
    C_gSN: Tensor
    dt_gSH: Tensor
    A_H: Tensor
    state_gNI: Tensor  # before the stretch


class AnyDecayScan:
    """y_gSI and after_gNI, the state after the stretch; differentiable: also `backward`."""

    def __init__(self, inputs: Inputs, ids_gS: Tensor | None, differentiable: bool) -> None:
        with torch.set_grad_enabled(differentiable):
            self._leaves = Inputs(*(t.detach().requires_grad_(differentiable) for t in inputs))
            x_gSI, B_gSN, C_gSN, dt_gSH, A_H, state_gNI = self._leaves
            by_heads = (len(A_H), -1)
            x_gSHP, state_gHPN = x_gSI.unflatten(-1, by_heads), state_gNI.unflatten(-1, by_heads).permute(0, 2, 3, 1)
            no_skip_H = torch.zeros_like(A_H)
            y_gSHP, after_gHPN = chunked(x_gSHP, dt_gSH, A_H, B_gSN, C_gSN, no_skip_H, ids_gS, state_gHPN, True)
            assert after_gHPN is not None
            self.y_gSI, self.after_gNI = y_gSHP.flatten(2), after_gHPN.permute(0, 3, 1, 2).flatten(2)

    def backward(self, dy_gSI: Tensor, dafter_gNI: Tensor) -> Inputs:
        """Gradients, from those of y and of the state after."""
        # The graph stays until this object goes: whoever keeps it may ask twice.
        given = [dy_gSI, dafter_gNI]
        return Inputs(*torch.autograd.grad([self.y_gSI, self.after_gNI], self._leaves, given, retain_graph=True))


class FactoredScan:
    """y_gSI and after_gNI, the state after the stretch, and `backward`. chunk: T [tokens]."""

    def __init__(self, inputs: Inputs, ids_gS: Tensor | None, chunk: int) -> None:
        self.images, self.tokens, self.heads = *inputs.x_gSI.shape[:2], len(inputs.A_H)
        self.chunk, self.A_H, work = chunk, inputs.A_H, inputs.x_gSI.dtype
        self.x_nTI, self.B_nTN, self.C_nTN, self.dt_nTH = (self._chunks_of(t) for t in inputs[:4])
        sum_nTH, mid_n1H = decay_sums(self.dt_nTH, self.A_H)
        self.rise_nTH, self.fall_nTH = torch.exp(sum_nTH - mid_n1H).to(work), torch.exp(mid_n1H - sum_nTH).to(work)
        self.link = Link.of(self.B_nTN, self.C_nTN, ids_gS, len(self.x_nTI) // self.images)
        self.to_mid_n1H, self.from_mid_n1H = torch.exp(mid_n1H).to(work), self.rise_nTH[:, -1:].contiguous()
        self.through_n1H = torch.exp(sum_nTH[:, -1:]).to(work) * self.link.keep_b11  # a chunk, if a state passes it
        self.W_nTI = scale_heads(self.x_nTI, self.dt_nTH * self.fall_nTH)
        add_nNI = torch.bmm(self.link.leave_bTN.transpose(1, 2), self.W_nTI)
        self.state_gxNHP = self._states(inputs.state_gNI, add_nNI)
        self.start_nNI = torch.mul(self.state_gxNHP[:, :-1], self._by_chunk(self.to_mid_n1H)).view_as(add_nNI)
        V_nTI = torch.bmm(self.link.G_bTT, self.W_nTI).baddbmm_(self.link.enter_bTN, self.start_nNI)
        self.y_nTI = scale_heads(V_nTI, self.rise_nTH, out=V_nTI)
        self.y_gSI, self.after_gNI = self._tokens_of(self.y_nTI), self.state_gxNHP[:, -1].flatten(2)

    def backward(self, dy_gSI: Tensor, dafter_gNI: Tensor) -> Inputs:
        """Gradients, from those of y and of the state after."""
        link, dy_nTI = self.link, self._chunks_of(dy_gSI)
        room_nTI = dy_nTI * self.y_nTI
        ds_nTH = self._head_sums(room_nTI)
        dV_nTI = scale_heads(dy_nTI, self.rise_nTH, out=room_nTI)

        dstart_nNI = torch.bmm(link.enter_bTN.transpose(1, 2), dV_nTI)
        dstate_gxNHP = self._states_backward(dstart_nNI, dafter_gNI)
        dafter_gcNHP = dstate_gxNHP[:, 1:]
        dadd_nNI = torch.mul(dafter_gcNHP, self._by_chunk(self.from_mid_n1H)).view_as(dstart_nNI)
        dG_nTT = link.only_linked_(torch.bmm(dV_nTI, self.W_nTI.transpose(1, 2)))
        dW_nTI = torch.bmm(link.G_bTT.transpose(1, 2), dV_nTI).baddbmm_(link.leave_bTN, dadd_nNI)
        dC_nTN = link.only_entering_(torch.bmm(dV_nTI, self.start_nNI.transpose(1, 2)))
        dB_nTN = link.only_leaving_(torch.bmm(self.W_nTI, dadd_nNI.transpose(1, 2)))
        dC_nTN.baddbmm_(dG_nTT, self.B_nTN)
        dB_nTN.baddbmm_(dG_nTT.transpose(1, 2), self.C_nTN)
        q_nTH = self._head_sums(torch.mul(dW_nTI, self.x_nTI, out=room_nTI)) * self.fall_nTH
        dx_nTI = scale_heads(dW_nTI, self.dt_nTH * self.fall_nTH, out=dW_nTI)

        ds_nTH -= q_nTH * self.dt_nTH
        ds_nTH[:, -1] += (dafter_gcNHP * self.state_gxNHP[:, 1:]).sum(-1).sum(2).flatten(0, 1)
        da_nTH = ds_nTH.flip(1).cumsum(1).flip(1)
        dA_H = (da_nTH * self.dt_nTH).sum((0, 1))
        dx_gSI, dB_gSN, dC_gSN = (self._tokens_of(t) for t in (dx_nTI, dB_nTN, dC_nTN))
        ddt_gSH = self._tokens_of(q_nTH + da_nTH * self.A_H)
        return Inputs(dx_gSI, dB_gSN, dC_gSN, ddt_gSH, dA_H, dstate_gxNHP[:, 0].flatten(2))

    def _states(self, state_gNI: Tensor, add_nNI: Tensor) -> Tensor:
        """The state before every chunk, and after the last (g, c + 1, N, H, P). add: what a chunk brings, as at its
        middle. One operation a chunk, the rest for all at once."""
        add_gcNHP = self._by_chunk(add_nNI)
        images, count, *shape = add_gcNHP.shape
        state_gxNHP = add_nNI.new_empty(images, count + 1, *shape)
        state_gxNHP[:, 0] = self._by_heads(state_gNI)
        torch.mul(add_gcNHP, self._by_chunk(self.from_mid_n1H), out=state_gxNHP[:, 1:])
        states, through = state_gxNHP.unbind(1), self._by_chunk(self.through_n1H).unbind(1)
        for i in range(count):
            states[i + 1].addcmul_(states[i], through[i])
        return state_gxNHP

    def _states_backward(self, dstart_nNI: Tensor, dafter_gNI: Tensor) -> Tensor:
        """Gradient of the state before every chunk, and after the last."""
        dstate_gxNHP = torch.empty_like(self.state_gxNHP)
        dstate_gxNHP[:, -1] = self._by_heads(dafter_gNI)
        torch.mul(self._by_chunk(dstart_nNI), self._by_chunk(self.to_mid_n1H), out=dstate_gxNHP[:, :-1])
        dstates, through = dstate_gxNHP.unbind(1), self._by_chunk(self.through_n1H).unbind(1)
        for i in reversed(range(len(through))):
            dstates[i].addcmul_(dstates[i + 1], through[i])
        return dstate_gxNHP

    def _tokens_of(self, x_nTX: Tensor) -> Tensor:
        """Chunks to tokens (g, S, X), those that fill the last chunk up left out."""
        return x_nTX.view(self.images, -1, x_nTX.shape[-1])[:, : self.tokens]

    def _chunks_of(self, x_gSX: Tensor) -> Tensor:
        """Tokens to chunks (n, T, X), the last one filled up with zeros: dt = 0 neither decays nor feeds a state."""
        pad = -x_gSX.shape[1] % self.chunk
        x_gSX = F.pad(x_gSX, (0, 0, 0, pad)) if pad else x_gSX
        return x_gSX.unflatten(1, (-1, self.chunk)).flatten(0, 1)

    def _by_heads(self, x_nXI: Tensor) -> Tensor:
        """(n, X, H, P), from channels or, (n, X, H, 1), from numbers a head."""
        return x_nXI.unflatten(-1, (self.heads, -1))

    def _by_chunk(self, x_nXI: Tensor) -> Tensor:
        """(g, c, X, H, P), or (g, c, X, H, 1) from numbers a head, or (g, c, X, 1, 1) from one number a chunk."""
        heads = self.heads if x_nXI.shape[-1] > 1 else 1
        return x_nXI.view(self.images, -1, x_nXI.shape[1], heads, x_nXI.shape[-1] // heads)

    def _head_sums(self, x_nTI: Tensor) -> Tensor:
        return self._by_heads(x_nTI).sum(-1)
