"""A stretch of tokens of mix.py's walk: forward, and a backward written by hand from what the forward kept.

Letters as in scan.py and mix.py. Inside: g images and S tokens of a stretch, V = K - 1 + S with the tokens before it
that its convolution sees; d before a name: the gradient of it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.backbones.head_scan import AnyDecayScan, FactoredScan, Inputs
from scaling.backbones.rms_norm import norm_backward, rate_of
from scaling.backbones.walk import ROWS, Gradients, Place, Walk, Weights


class Stretch:
    """One stretch of the walk: `run` forward, with keep=True before `backward`."""

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

    def run(self, state_gNI: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
        """Output (g, S, I) before the gate, and the state after the stretch. keep: all that `backward` needs."""
        h_gSC = self.convolution()
        x_gSI, B_gSN, C_gSN = F.silu(h_gSC, inplace=not keep).split(self.walk.w.parts, -1)
        scans = self._scans(x_gSI, B_gSN, C_gSN, state_gNI, keep)
        y_gSI = torch.addcmul(self._all_heads([scan.y_gSI.detach() for scan in scans]), x_gSI, self.walk.D_I)
        if keep:
            self._kept = h_gSC, x_gSI, scans, y_gSI
        return y_gSI, self._all_heads([scan.after_gNI.detach() for scan in scans])

    def _scans(
        self, x_gSI: Tensor, B_gSN: Tensor, C_gSN: Tensor, state_gNI: Tensor, differentiable: bool
    ) -> list[FactoredScan | AnyDecayScan]:
        """Of the mild heads, then of the strong ones, as far as there are any."""
        scans: list[FactoredScan | AnyDecayScan] = []
        for mild, index_H in self.walk.groups:
            x, dt, state = (self._some_heads(t, index_H) for t in (x_gSI, self.dt_gSH, state_gNI))
            inputs = Inputs(x, B_gSN, C_gSN, dt, self.walk.w.A_H[index_H], state)
            if mild:
                scans.append(FactoredScan(inputs, self.ids_gS, self.walk.chunk))
            else:
                scans.append(AnyDecayScan(inputs, self.ids_gS, differentiable))
        return scans

    def _some_heads(self, x_gXI: Tensor, index_H: Tensor) -> Tensor:
        if len(index_H) == self.walk.heads:
            return x_gXI
        return x_gXI.unflatten(-1, (self.walk.heads, -1)).index_select(2, index_H).flatten(2)

    def _all_heads(self, parts: list[Tensor]) -> Tensor:
        """The inverse of _some_heads, over all groups."""
        if len(parts) == 1:
            return parts[0]
        heads = [t.unflatten(-1, (len(index_H), -1)) for t, (_, index_H) in zip(parts, self.walk.groups, strict=True)]
        order_H = torch.cat([index_H for _, index_H in self.walk.groups])
        return torch.cat(heads, 2).index_select(2, order_H.argsort()).flatten(2)

    def backward(self, g_gSI: Tensor, to: Gradients) -> None:
        """Add this stretch's gradients, from that of its output and, in `to`, that of the state after it."""
        walk, at, (h_gSC, x_gSI, scans, y_gSI) = self.walk, self.at, self._kept
        dy_gSI = self._gate_and_norm_backward(g_gSI, y_gSI, to)

        dafter_gNI = to.state_after(at)
        parts = [
            scan.backward(self._some_heads(dy_gSI, index_H), self._some_heads(dafter_gNI, index_H))
            for scan, (_, index_H) in zip(scans, walk.groups, strict=True)
        ]
        dx_gSI, dstate_gNI = (self._all_heads([getattr(p, name) for p in parts]) for name in ("x_gSI", "state_gNI"))
        ddt_gSH = self._all_heads([part.dt_gSH for part in parts])
        dB_gSN, dC_gSN = parts[0].B_gSN, parts[0].C_gSN
        for part in parts[1:]:
            dB_gSN, dC_gSN = dB_gSN + part.B_gSN, dC_gSN + part.C_gSN
        for part, (_, index_H) in zip(parts, walk.groups, strict=True):
            to.w.A_H.index_add_(0, index_H, part.A_H)
        to.w.D_H.add_((dy_gSI * x_gSI).unflatten(-1, (walk.heads, -1)).sum(-1).sum((0, 1)))
        to.add_dt(ddt_gSH * torch.sigmoid(self._dt_before()), at)
        to.state_gNI = dstate_gNI * self._goes_on()
        dxBC_gSC = torch.cat([dx_gSI.addcmul(dy_gSI, walk.D_I), dB_gSN, dC_gSN], -1)
        self._convolution_backward(dxBC_gSC, h_gSC, to)

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
