"""A stretch of tokens of mamba2_mixer.py's walk: forward, and a backward written by hand from what the forward kept.

Letters as in ssd_scan.py and mamba2_mixer.py. Inside: g images and S tokens of a stretch, V = K - 1 + S with the tokens
before it that its convolution sees; d before a name: the gradient of it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.backbones.ssd.mixer_tiling import ROWS, Gradients, Place, Walk, Weights
from scaling.backbones.ssd.rms_norm import norm_backward, rate_of
from scaling.backbones.ssd.ssd_scan_grad import AnyDecayScan, FactoredScan, Inputs


class Stretch:
    """One stretch of the walk, from the state after the one before it: y_gSI, the output before the gate, and
    after_gNI, the state after it. keep: all that `backward` needs."""

    def __init__(self, walk: Walk, at: Place, came_gNI: Tensor | None, keep: bool) -> None:
        self.walk, self.at = walk, at
        self.z_gSI = walk.z[at.rows, at.tokens].to(walk.work)
        past = walk.taps - 1  # tokens before the stretch that its convolution sees
        if at.number == 0:
            self.xBC_gVC = F.pad(walk.xBC[at.rows, at.tokens].to(walk.work), (0, 0, past, 0))
        else:
            self.xBC_gVC = walk.xBC[at.rows, at.tokens.start - past : at.tokens.stop].to(walk.work).contiguous()
        self.same_KgS1 = None if walk.same_KBL1 is None else walk.same_KBL1[:, at.rows, at.tokens]
        h_gSC = self.convolution()
        self.x_gSI, B_gSN, C_gSN = F.silu(h_gSC, inplace=not keep).split(walk.w.parts, -1)
        before_gNI = walk.no_state(at) if came_gNI is None else self._if_it_goes_on(came_gNI)
        self.scans = self._scans(Inputs(self.x_gSI, B_gSN, C_gSN, before_gNI), keep)
        y_gSI = walk.all_heads([scan.y_gSI for scan in self.scans])
        self.y_gSI = torch.addcmul(y_gSI, self.x_gSI, walk.D_I)
        self.after_gNI = self._state([scan.after_gNI for scan in self.scans])
        self.h_gSC = h_gSC if keep else None

    def _state(self, parts: list[Tensor | None]) -> Tensor | None:
        """Of all heads, from those of the groups; None if none passes."""
        there = [part for part in parts if part is not None]
        return self.walk.all_heads(there) if there else None

    def _if_it_goes_on(self, state_gNI: Tensor) -> Tensor:
        """Nothing, where another segment begins here than the one that the stretch before this one ended in."""
        if self.same_KgS1 is None or self.at.number == 0:
            return state_gNI
        return state_gNI * self.same_KgS1[1, :, :1]

    def convolution(self) -> Tensor:
        """Before its SiLU (g, S, C)."""
        w = self.walk.w
        if self.same_KgS1 is not None:
            return _by_taps(self.xBC_gVC, w, self.same_KgS1)
        # Tokens lie channels last already, and there a conv2d of height 1 is oneDNN's fast road; conv1d is not.
        h_gC1S = F.conv2d(_row(self.xBC_gVC), w.conv_C1K.unsqueeze(2), w.conv_bias_C, groups=len(w.conv_C1K))
        return h_gC1S.squeeze(2).transpose(1, 2)

    def _scans(self, inputs: Inputs, keep: bool) -> list[FactoredScan | AnyDecayScan]:
        """Of every group of heads."""
        walk, at, scans = self.walk, self.at, list[FactoredScan | AnyDecayScan]()
        ids_gS = None if walk.ids is None else walk.ids[at.rows, at.tokens]
        for (_, index_H), A_H, decays in zip(walk.groups, walk.A_H, walk.decays, strict=True):
            x_gSI, B_gSN, C_gSN, state_gNI = inputs
            if state_gNI is not None:
                state_gNI = walk.some_heads(state_gNI, index_H)
            some = Inputs(walk.some_heads(x_gSI, index_H), B_gSN, C_gSN, state_gNI)
            if decays is None:
                dt_gSH = walk.some_heads(walk.dt_BLH[at.rows, at.tokens], index_H)
                scans.append(AnyDecayScan(some, dt_gSH, A_H, ids_gS, differentiable=keep))
            else:
                scans.append(FactoredScan(some, decays.of_chunks(at.chunks), ids_gS))
        return scans

    def backward(self, g_gSI: Tensor, to: Gradients) -> None:
        """Add this stretch's gradients, from that of its output and, in `to`, that of the state after it."""
        walk, at = self.walk, self.at
        dy_gSI = self._gate_and_norm_backward(g_gSI, to)
        dafter_gNI, parts = to.state_after(at), []
        for group, (scan, (_, index_H)) in enumerate(zip(self.scans, walk.groups, strict=True)):
            dafter = None if dafter_gNI is None else walk.some_heads(dafter_gNI, index_H)
            parts.append(scan.backward(walk.some_heads(dy_gSI, index_H), dafter, *to.of_decays(group, at)))
        dx_gSI = walk.all_heads([part.x_gSI for part in parts])
        dstate_gNI = self._state([part.state_gNI for part in parts])
        to.state_gNI = None if dstate_gNI is None else self._if_it_goes_on(dstate_gNI)
        to.D_I.add_((dy_gSI * self.x_gSI).sum((0, 1)))
        dxBC_gSC = torch.empty_like(self.xBC_gVC[:, walk.taps - 1 :])
        to_x_gSI, *to_BC = dxBC_gSC.split(walk.w.parts, -1)
        torch.addcmul(dx_gSI, dy_gSI, walk.D_I, out=to_x_gSI)
        for to_gSN, of_groups in zip(
            to_BC, zip(*((part.B_gSN, part.C_gSN) for part in parts), strict=True), strict=True
        ):
            to_gSN.copy_(of_groups[0] if len(of_groups) == 1 else sum(of_groups))
        self._convolution_backward(dxBC_gSC, to)

    def _gate_and_norm_backward(self, g_gSI: Tensor, to: Gradients) -> Tensor:
        walk, z_gSI, y_gSI = self.walk, self.z_gSI, self.y_gSI
        gate_gSI = F.silu(z_gSI)
        u_gSI = y_gSI * gate_gSI
        du_gSI, dnorm_I = norm_backward(g_gSI, u_gSI, walk.w.norm_I, rate_of(u_gSI, walk.eps))
        to.norm_I.add_(dnorm_I)
        dy_gSI = gate_gSI.mul_(du_gSI)
        dz_gSI = to.z[self.at.rows, self.at.tokens]
        torch.ops.aten.silu_backward.grad_input(du_gSI.mul_(y_gSI), z_gSI, grad_input=dz_gSI)
        return dy_gSI

    def _convolution_backward(self, dxBC_gSC: Tensor, to: Gradients) -> None:
        assert self.h_gSC is not None
        walk, at, past, tokens = self.walk, self.at, self.walk.taps - 1, self.h_gSC.shape[1]
        dh_gVC = torch.empty_like(self.xBC_gVC)  # the stretch's tokens, then those after it that saw its last ones
        dh_gSC = dh_gVC[:, :tokens]
        torch.ops.aten.silu_backward.grad_input(dxBC_gSC, self.h_gSC, grad_input=dh_gSC)
        to.bias_C.add_(dh_gSC.sum((0, 1)))
        if self.same_KgS1 is not None:
            self._by_taps_backward(dh_gSC, to)
            return
        dh_gVC[:, tokens:] = 0.0
        if at.number < walk.count - 1 and to.dh_gKC is not None:
            dh_gVC[:, tokens:] = to.dh_gKC
        flipped_C11K = walk.w.conv_C1K.flip(2).unsqueeze(2)
        d_gC1S = F.conv2d(_row(dh_gVC), flipped_C11K, groups=len(flipped_C11K))
        to.xBC[at.rows, at.tokens] = d_gC1S.squeeze(2).transpose(1, 2)
        to.dh_gKC = dh_gVC[:, :past].clone()
        # The weight: every tap's products, some rows at a time, so that sums and not products go to memory. Images lie
        # one after the other, and between them dh is 0.
        rows = len(dh_gVC) * (tokens + past) - past
        dh_VC = dh_gVC.flatten(0, 1)[:rows]
        seen_KVC = self.xBC_gVC.flatten(0, 1).unfold(0, rows, 1).transpose(1, 2)
        for dh_RC, seen_KRC in zip(dh_VC.split(ROWS), seen_KVC.split(ROWS, 1), strict=True):
            to.conv_KRC[:, : len(dh_RC)].addcmul_(dh_RC, seen_KRC)

    def _by_taps_backward(self, dh_gSC: Tensor, to: Gradients) -> None:
        """Gradients of xBC and of the weight where the convolution starts anew with segments, tap by tap."""
        assert self.same_KgS1 is not None
        tokens, past, dxBC_gLC = self.at.tokens, self.walk.taps - 1, to.xBC[self.at.rows]
        for back in range(self.walk.taps):
            late = max(0, back - tokens.start)  # tokens that see nothing there: the sequence begins after it
            d_gSC = dh_gSC * self.same_KgS1[back]
            seen_gSC = self.xBC_gVC[:, past - back : past - back + d_gSC.shape[1]]
            to.conv_KRC[past - back, 0].add_((d_gSC * seen_gSC).sum((0, 1)))
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
