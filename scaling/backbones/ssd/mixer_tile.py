"""A tile of mamba2_mixer.py: forward, and a hand-written backward from what the forward kept.

Letters as in ssd_scan.py and mamba2_mixer.py; g images and S tokens of a tile, V = K - 1 + S with the tokens before it
that its convolution reads; d before a name: its gradient.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.backbones.ssd.mixer_tiling import ROWS, Gradients, TilePlace, Tiling, Weights
from scaling.backbones.ssd.rms_norm import gated_norm, gated_norm_backward
from scaling.backbones.ssd.ssd_scan_grad import AnyDecayScan, FactoredScan, Inputs


class Tile:
    """One tile: y_gSI, the output before the gate, and after_gNI, the state after it."""

    def __init__(self, tiling: Tiling, at: TilePlace, state_gNI: Tensor | None, keep: bool) -> None:
        """state_gNI: after the tile before this one; None for the first of an image. keep: all that `backward`
        needs."""
        self.tiling, self.at = tiling, at
        self.z_gSI = tiling.z[at.rows, at.tokens].to(tiling.work)
        past = tiling.taps - 1  # tokens before the tile that its convolution reads
        if at.number == 0:
            self.xBC_gVC = F.pad(tiling.xBC[at.rows, at.tokens].to(tiling.work), (0, 0, past, 0))
        else:
            self.xBC_gVC = tiling.xBC[at.rows, at.tokens.start - past : at.tokens.stop].to(tiling.work).contiguous()
        self.same_KgS1 = None if tiling.same_KBL1 is None else tiling.same_KBL1[:, at.rows, at.tokens]
        h_gSC = self.convolution()
        self.x_gSI, B_gSN, C_gSN = F.silu(h_gSC, inplace=not keep).split(tiling.w.parts, -1)
        before_gNI = tiling.no_state(at) if state_gNI is None else self._masked(state_gNI)
        self.scans = self._scans(Inputs(self.x_gSI, B_gSN, C_gSN, before_gNI), keep)
        y_gSI = tiling.all_heads([scan.y_gSI for scan in self.scans])
        self.y_gSI = torch.addcmul(y_gSI, self.x_gSI, tiling.D_I)
        self.after_gNI = self._state([scan.after_gNI for scan in self.scans])
        self.h_gSC = h_gSC if keep else None

    def _state(self, parts: list[Tensor | None]) -> Tensor | None:
        """The state of all heads, from the states of the groups; None if no state is passed on."""
        present = [part for part in parts if part is not None]
        return self.tiling.all_heads(present) if present else None

    def _masked(self, state_gNI: Tensor) -> Tensor:
        """Zero where the tile begins with another segment than the tile before it ended with."""
        if self.same_KgS1 is None or self.at.number == 0:
            return state_gNI
        return state_gNI * self.same_KgS1[1, :, :1]

    def convolution(self) -> Tensor:
        """Before its SiLU (g, S, C)."""
        w = self.tiling.w
        if self.same_KgS1 is not None:
            return _by_taps(self.xBC_gVC, w, self.same_KgS1)
        # Tokens are channels-last already, for which a conv2d of height 1 is fast in oneDNN; conv1d is not.
        h_gC1S = F.conv2d(_row(self.xBC_gVC), w.conv_C1K.unsqueeze(2), w.conv_bias_C, groups=len(w.conv_C1K))
        return h_gC1S.squeeze(2).transpose(1, 2)

    def _scans(self, inputs: Inputs, keep: bool) -> list[FactoredScan | AnyDecayScan]:
        """One scan per group of heads."""
        tiling, at, scans = self.tiling, self.at, list[FactoredScan | AnyDecayScan]()
        ids_gS = None if tiling.ids is None else tiling.ids[at.rows, at.tokens]
        for (_, index_H), A_H, decays in zip(tiling.groups, tiling.A_H, tiling.decays, strict=True):
            x_gSI, B_gSN, C_gSN, state_gNI = inputs
            if state_gNI is not None:
                state_gNI = tiling.some_heads(state_gNI, index_H)
            some = Inputs(tiling.some_heads(x_gSI, index_H), B_gSN, C_gSN, state_gNI)
            if decays is None:
                dt_gSH = tiling.some_heads(tiling.dt_BLH[at.rows, at.tokens], index_H)
                scans.append(AnyDecayScan(some, dt_gSH, A_H, ids_gS, differentiable=keep))
            else:
                scans.append(FactoredScan(some, decays.of_chunks(at.chunks), ids_gS))
        return scans

    def write_output(self, out_gSI: Tensor) -> None:
        """Write the gated and normalised output."""
        gated_norm(self.y_gSI, self.z_gSI, self.tiling.w.norm_I, self.tiling.eps, out_gSI)

    def backward(self, g_gSI: Tensor, to: Gradients) -> None:
        """Add this tile's gradients to `to`, which has that of the state after it. g: gradient of the output."""
        tiling, at = self.tiling, self.at
        dz_gSI = to.z[at.rows, at.tokens]
        dy_gSI, dnorm_I = gated_norm_backward(g_gSI, self.y_gSI, self.z_gSI, tiling.w.norm_I, tiling.eps, dz_gSI)
        to.norm_I.add_(dnorm_I)
        dafter_gNI, parts = to.state_after(at), []
        for group, (scan, (_, index_H)) in enumerate(zip(self.scans, tiling.groups, strict=True)):
            dafter = None if dafter_gNI is None else tiling.some_heads(dafter_gNI, index_H)
            parts.append(scan.backward(tiling.some_heads(dy_gSI, index_H), dafter, *to.of_decays(group, at)))
        dx_gSI = tiling.all_heads([part.x_gSI for part in parts])
        dstate_gNI = self._state([part.state_gNI for part in parts])
        to.state_gNI = None if dstate_gNI is None else self._masked(dstate_gNI)
        to.D_I.add_((dy_gSI * self.x_gSI).sum((0, 1)))
        dxBC_gSC = torch.empty_like(self.xBC_gVC[:, tiling.taps - 1 :])
        to_x_gSI, *to_BC = dxBC_gSC.split(tiling.w.parts, -1)
        torch.addcmul(dx_gSI, dy_gSI, tiling.D_I, out=to_x_gSI)
        for to_gSN, of_groups in zip(
            to_BC, zip(*((part.B_gSN, part.C_gSN) for part in parts), strict=True), strict=True
        ):
            to_gSN.copy_(of_groups[0] if len(of_groups) == 1 else sum(of_groups))
        self._convolution_backward(dxBC_gSC, to)

    def _convolution_backward(self, dxBC_gSC: Tensor, to: Gradients) -> None:
        assert self.h_gSC is not None
        tiling, at, past, tokens = self.tiling, self.at, self.tiling.taps - 1, self.h_gSC.shape[1]
        dh_gVC = torch.empty_like(self.xBC_gVC)  # the tile's tokens, then those after it that read its last ones
        dh_gSC = dh_gVC[:, :tokens]
        torch.ops.aten.silu_backward.grad_input(dxBC_gSC, self.h_gSC, grad_input=dh_gSC)
        to.bias_C.add_(dh_gSC.sum((0, 1)))
        if self.same_KgS1 is not None:
            self._by_taps_backward(dh_gSC, to)
            return
        dh_gVC[:, tokens:] = 0.0
        if at.number < tiling.count - 1 and to.dh_gKC is not None:
            dh_gVC[:, tokens:] = to.dh_gKC
        flipped_C11K = tiling.w.conv_C1K.flip(2).unsqueeze(2)
        d_gC1S = F.conv2d(_row(dh_gVC), flipped_C11K, groups=len(flipped_C11K))
        to.xBC[at.rows, at.tokens] = d_gC1S.squeeze(2).transpose(1, 2)
        to.dh_gKC = dh_gVC[:, :past].clone()
        # The weight: products of every tap, some rows at a time, so that sums and not products go to memory. Images
        # follow each other, and between them dh is 0.
        rows = len(dh_gVC) * (tokens + past) - past
        dh_VC = dh_gVC.flatten(0, 1)[:rows]
        read_KVC = self.xBC_gVC.flatten(0, 1).unfold(0, rows, 1).transpose(1, 2)
        for dh_RC, read_KRC in zip(dh_VC.split(ROWS), read_KVC.split(ROWS, 1), strict=True):
            to.conv_KRC[:, : len(dh_RC)].addcmul_(dh_RC, read_KRC)

    def _by_taps_backward(self, dh_gSC: Tensor, to: Gradients) -> None:
        """Gradients of xBC and of the weight where the convolution is reset at segments, tap by tap."""
        assert self.same_KgS1 is not None
        tokens, past, dxBC_gLC = self.at.tokens, self.tiling.taps - 1, to.xBC[self.at.rows]
        for back in range(self.tiling.taps):
            late = max(0, back - tokens.start)  # tokens for which there is none: the sequence begins after it
            d_gSC = dh_gSC * self.same_KgS1[back]
            read_gSC = self.xBC_gVC[:, past - back : past - back + d_gSC.shape[1]]
            to.conv_KRC[past - back, 0].add_((d_gSC * read_gSC).sum((0, 1)))
            d_gSC = d_gSC[:, late:] * self.tiling.w.conv_C1K[:, 0, past - back]
            start = tokens.start + late - back
            dxBC_gLC[:, start : start + d_gSC.shape[1]] += d_gSC


def _row(x_BLC: Tensor) -> Tensor:
    """(B, C, 1, L): tokens as a one-row image in channels-last memory, without a copy."""
    return x_BLC.transpose(1, 2).unsqueeze(2)


def _by_taps(x_gVC: Tensor, w: Weights, same_KgS1: Tensor | None) -> Tensor:
    """The convolution, tap by tap; the first K - 1 tokens are only read."""
    past = w.conv_C1K.shape[-1] - 1
    h_gSC = w.conv_bias_C
    for back in range(past + 1):
        read_gSC = x_gVC[:, past - back : x_gVC.shape[1] - back]
        if same_KgS1 is not None:
            read_gSC = read_gSC * same_KgS1[back]
        h_gSC = h_gSC + read_gSC * w.conv_C1K[:, 0, past - back]
    return h_gSC
