"""A tile of mamba2_mixer.py: forward, and a hand-written backward from what the forward kept.

Letters as in ssd_scan.py and mamba2_mixer.py; g images and S tokens of a tile, Z with those that fill its last chunk,
V = K - 1 + S with the tokens before it that its convolution reads; d before a name: its gradient.
"""

import torch
from torch import Tensor

from scaling.backbones.ssd.mixer_tiling import Gradients, TilePlace, Tiling
from scaling.backbones.ssd.ssd_scan_grad import AnyDecayScan, FactoredScan, Inputs
from scaling.backbones.ssd.tile_passes import FromScan


class Tile:
    """One tile: scanned_gSI, the output of the scan, and after_gNI, the state after it."""

    def __init__(self, tiling: Tiling, at: TilePlace, state_gNI: Tensor | None, keep: bool) -> None:
        """state_gNI: after the tile before this one; None for the first of an image. keep: all that `backward`
        needs."""
        self.tiling, self.at = tiling, at
        self.z_gSI = tiling.z[at.rows, at.tokens].to(tiling.work)
        self.read = tiling.read(at)
        x_gZI, B_gZN, C_gZN = tiling.passes.conv_silu(self.read, tiling.conv, tiling.w.parts, tiling.filled(at))
        self.x_gSI = x_gZI[:, : self.z_gSI.shape[1]]
        before_gNI = tiling.no_state(at) if state_gNI is None else self._masked(state_gNI)
        self.scans = self._scans(Inputs(x_gZI, B_gZN, C_gZN, before_gNI), keep)
        self.scanned_gSI = tiling.all_heads([scan.y_gSI for scan in self.scans])
        self.after_gNI = self._state([scan.after_gNI for scan in self.scans])

    def _state(self, parts: list[Tensor | None]) -> Tensor | None:
        """The state of all heads, from the states of the groups; None if no state is passed on."""
        present = [part for part in parts if part is not None]
        return self.tiling.all_heads(present) if present else None

    def _masked(self, state_gNI: Tensor) -> Tensor:
        """Zero where the tile begins with another segment than the tile before it ended with."""
        if self.read.reach_gV is None or self.at.number == 0:
            return state_gNI
        return state_gNI * (self.read.reach_gV[:, :1, None] > 0)

    def _scans(self, inputs: Inputs, keep: bool) -> list[FactoredScan | AnyDecayScan]:
        """One scan per group of heads."""
        tiling, at, scans = self.tiling, self.at, list[FactoredScan | AnyDecayScan]()
        ids_gS = None if tiling.ids is None else tiling.ids[at.rows, at.tokens]
        for (_, index_H), A_H, decays in zip(tiling.groups, tiling.A_H, tiling.decays, strict=True):
            x_gZI, B_gZN, C_gZN, state_gNI = inputs
            if state_gNI is not None:
                state_gNI = tiling.some_heads(state_gNI, index_H)
            some = Inputs(tiling.some_heads(x_gZI, index_H), B_gZN, C_gZN, state_gNI)
            if decays is None:
                dt_gSH = tiling.some_heads(tiling.dt_BLH[at.rows, at.tokens], index_H)
                scans.append(AnyDecayScan(some, dt_gSH, A_H, ids_gS, differentiable=keep))
            else:
                tokens = self.z_gSI.shape[1]
                scans.append(FactoredScan(some, tokens, decays.of_chunks(at.chunks), ids_gS, tiling.passes))
        return scans

    def write_output(self, out_gSI: Tensor) -> None:
        """Write the gated and normalised output."""
        self.tiling.passes.gated_norm(
            self.scanned_gSI, self.x_gSI, self.z_gSI, self.tiling.gate, self.tiling.eps, out_gSI
        )

    def backward(self, g_gSI: Tensor, to: Gradients) -> None:
        """Add this tile's gradients to `to`, which has those after it. g: gradient of the output."""
        tiling, at = self.tiling, self.at
        dz_gSI, dxBC_gSC = to.z[at.rows, at.tokens], to.xBC[at.rows, at.tokens]
        dy_gZI = tiling.passes.gated_norm_backward(
            g_gSI, self.scanned_gSI, self.x_gSI, self.z_gSI, tiling.gate, tiling.eps, dz_gSI, to.gate, tiling.filled(at)
        )
        dafter_gNI, parts = to.state_after(at), []
        for group, (scan, (_, index_H)) in enumerate(zip(self.scans, tiling.groups, strict=True)):
            dafter = None if dafter_gNI is None else tiling.some_heads(dafter_gNI, index_H)
            parts.append(scan.backward(tiling.some_heads(dy_gZI, index_H), dafter, *to.of_decays(group, at)))
        dstate_gNI = self._state([part.state_gNI for part in parts])
        to.state_gNI = None if dstate_gNI is None else self._masked(dstate_gNI)
        dx_gSI = tiling.all_heads([part.x for part in parts])
        dB_gSN, dC_gSN = _sum([part.B for part in parts]), _sum([part.C for part in parts])
        to.first_gKC = tiling.passes.conv_silu_backward(
            self.read,
            tiling.conv,
            FromScan(dx_gSI, dB_gSN, dC_gSN, dy_gZI[:, : g_gSI.shape[1]]),
            tiling.gate.skip_I,
            None if at.number == tiling.count - 1 else to.first_gKC,
            dxBC_gSC,
            to.conv,
        )


def _sum(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
