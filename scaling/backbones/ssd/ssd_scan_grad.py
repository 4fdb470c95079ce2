"""The scan of some heads over a tile of tokens, forward and backward: two classes with one interface.

FactoredScan   decays factored around the middle of every chunk, exp(s_i - s_j) = rise_i * fall_j, so that all heads
               share one product; backward by hand
AnyDecayScan   for any decays, by ssd_scan.chunked and autograd

Letters as in ssd_scan.py and mamba2_mixer.py; g images and S tokens of a tile, Z with the zeros that fill its last
chunk, n = g * c chunks of T tokens, I = H * P the channels of these heads; d before a name: its gradient. Without D:
the caller adds the skip connection.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.backbones.ssd.chunk_links import Link
from scaling.backbones.ssd.scan_inputs import ScanInputs
from scaling.backbones.ssd.ssd_scan import chunked, decay_sums, scale_heads, wide_dtype
from scaling.backbones.ssd.tile_passes import TilePasses


class Inputs(NamedTuple):
    """Inputs of a scan without its decays, of Z tokens; or their gradients, of S tokens."""

    x: Tensor  # (g, Z or S, I)
    B: Tensor  # (g, Z or S, N)
    C: Tensor
    state_gNI: Tensor | None  # before the tile; None: an image is a single chunk, and no state is passed on


class Decays(NamedTuple):
    """Factors of tokens and chunks that follow from dt and A, of all images or of a tile. H numbers per token need
    little arithmetic, but an operation on them takes as long as one on all channels of a short tile: so once for all
    tiles."""

    dt_nTH: Tensor
    rise_nTH: Tensor  # exp(s - mid)
    fall_nTH: Tensor  # exp(mid - s)
    fed_nTH: Tensor  # dt * fall
    to_mid_n1H: Tensor  # from the state before a chunk
    from_mid_n1H: Tensor  # to the state after it
    through_n1H: Tensor  # from the one to the other

    @classmethod
    def of(cls, dt_BLH: Tensor, A_H: Tensor, chunk: int) -> "Decays":
        # The last chunk is filled with zeros: dt = 0 neither decays nor feeds a state.
        dt_nTH = F.pad(dt_BLH, (0, 0, 0, -dt_BLH.shape[1] % chunk)).unflatten(1, (-1, chunk)).flatten(0, 1)
        sum_nTH, mid_n1H = decay_sums(dt_nTH, A_H)
        rise_nTH, fall_nTH, to_mid_n1H, through_n1H = (
            torch.exp(t).to(dt_BLH.dtype) for t in (sum_nTH - mid_n1H, mid_n1H - sum_nTH, mid_n1H, sum_nTH[:, -1:])
        )
        return cls(
            dt_nTH, rise_nTH, fall_nTH, dt_nTH * fall_nTH, to_mid_n1H, rise_nTH[:, -1:].contiguous(), through_n1H
        )

    def of_chunks(self, chunks: slice) -> "Decays":
        return Decays(*(t[chunks] for t in self))

    def backward(self, A_H: Tensor, ds_nTH: Tensor, q_nTH: Tensor, images: int) -> tuple[Tensor, Tensor]:
        """Gradients of dt (B, c * T, H) and of A from those of FactoredScan.backward, which are overwritten.

        y is made of products x_j * exp(s_i - s_j) with s summed from the image's first token on, whatever the chunks:
        the gradient of s_i is that of its factor in y_i minus that of its factor in x_i, and that of a_t is the sum of
        those from t on, in float64, as they cancel."""
        ds_nTH.addcmul_(q_nTH, self.fed_nTH, value=-1)
        dt_BLH, ds_BLH, ddt_BLH = (
            t.view(images, -1, len(A_H)) for t in (self.dt_nTH, ds_nTH, q_nTH.mul_(self.fall_nTH))
        )
        da_BLH = ds_BLH.flip(1).cumsum(1, dtype=wide_dtype(ds_BLH)).flip(1).to(ds_BLH.dtype)
        return ddt_BLH.addcmul_(da_BLH, A_H), da_BLH.mul_(dt_BLH).sum((0, 1))


class AnyDecayScan:
    """y_gSI and after_gNI, the state after the tile. differentiable: whether `backward` can be called."""

    def __init__(
        self, inputs: Inputs, dt_gSH: Tensor, A_H: Tensor, ids_gS: Tensor | None, differentiable: bool
    ) -> None:
        with torch.set_grad_enabled(differentiable):
            *filled, state_gNI = inputs
            tokens = dt_gSH.shape[1]
            given = [t for t in (dt_gSH, A_H, *(t[:, :tokens] for t in filled), state_gNI) if t is not None]
            self._leaves = [t.detach().requires_grad_(differentiable) for t in given]
            dt_gSH, A_H, x_gSI, B_gSN, C_gSN, *state = self._leaves
            by_heads = (len(A_H), -1)
            start_gHPN = state[0].unflatten(-1, by_heads).permute(0, 2, 3, 1) if state else None
            x_gSHP, no_skip_H = x_gSI.unflatten(-1, by_heads), torch.zeros_like(A_H)
            scanned = ScanInputs(x_gSHP, dt_gSH, A_H, B_gSN, C_gSN, no_skip_H, ids_gS, start_gHPN)
            y_gSHP, end_gHPN = chunked(scanned, bool(state))
            self._results = [y_gSHP.flatten(2)]
            if state and end_gHPN is not None:
                self._results.append(end_gHPN.permute(0, 3, 1, 2).flatten(2))
        self.y_gSI = self._results[0].detach()
        self.after_gNI: Tensor | None = self._results[1].detach() if state else None

    def backward(self, dy_gZI: Tensor, dafter_gNI: Tensor | None, ddt_gSH: Tensor, dA_H: Tensor) -> Inputs:
        """Gradients, from those of y and of the state after. That of dt goes into ddt, that of A is added to dA."""
        given = [t for t in (dy_gZI[:, : self.y_gSI.shape[1]], dafter_gNI) if t is not None]
        # The graph is kept as long as this object: gradients may be requested twice.
        dt, dA, dx, dB, dC, *dstate = torch.autograd.grad(self._results, self._leaves, given, retain_graph=True)
        ddt_gSH.copy_(dt)
        dA_H.add_(dA)
        return Inputs(dx, dB, dC, dstate[0] if dstate else None)


class FactoredScan:
    """y_gSI and after_gNI, the state after the tile. decays: of the chunks of this tile."""

    def __init__(self, inputs: Inputs, tokens: int, decays: Decays, ids_gS: Tensor | None, passes: TilePasses) -> None:
        """tokens: S."""
        self.passes = passes
        self.images, self.tokens = len(inputs.x), tokens
        self.decays = decays
        self.after_gNI: Tensor | None = None
        self.x_nTI, self.B_nTN, self.C_nTN = (self._chunks_of(t) for t in inputs[:3])
        self.link = Link.of(self.B_nTN, self.C_nTN, ids_gS, len(self.x_nTI) // self.images)
        W_nTI = scale_heads(self.x_nTI, decays.fed_nTH)
        V_nTI = torch.bmm(self.link.G_bTT, W_nTI)
        if inputs.state_gNI is not None:
            self.through_n1H = self.link.passing(decays.through_n1H)
            self.start_nNI = torch.bmm(self.link.leave_bTN.transpose(1, 2), W_nTI)
            self.after_gNI = inputs.state_gNI.clone(memory_format=torch.contiguous_format)
            factors = decays.to_mid_n1H, decays.from_mid_n1H, self.through_n1H
            passes.chain(self.start_nNI, self.after_gNI, *factors, reverse=False)
            V_nTI.baddbmm_(self.link.enter_bTN, self.start_nNI)
        self.y_nTI = scale_heads(V_nTI, decays.rise_nTH, out=V_nTI)
        self.y_gSI = self._tokens_of(self.y_nTI)

    def backward(self, dy_gZI: Tensor, dafter_gNI: Tensor | None, ds_nTH: Tensor, q_nTH: Tensor) -> Inputs:
        """Gradients, from those of y and of the state after. Into ds goes dy * y, into q the gradient of dt * fall, by
        head: from them Decays.backward computes those of dt and A, for all tiles."""
        link, dy_nTI = self.link, self._chunks_of(dy_gZI)
        dV_nTI = self.passes.scaled_and_dots(dy_nTI, self.y_nTI, self.decays.rise_nTH, ds_nTH)
        W_nTI = scale_heads(self.x_nTI, self.decays.fed_nTH)
        dG_nTT = link.only_linked_(torch.bmm(dV_nTI, W_nTI.transpose(1, 2)))
        dW_nTI = torch.bmm(link.G_bTT.transpose(1, 2), dV_nTI)
        dstate_gNI: Tensor | None = None
        if dafter_gNI is None:
            dC_nTN, dB_nTN = torch.bmm(dG_nTT, self.B_nTN), torch.bmm(dG_nTT.transpose(1, 2), self.C_nTN)
        else:
            dadd_nNI = torch.bmm(link.enter_bTN.transpose(1, 2), dV_nTI)
            dstate_gNI = dafter_gNI.clone(memory_format=torch.contiguous_format)
            factors = self.decays.from_mid_n1H, self.decays.to_mid_n1H, self.through_n1H
            self.passes.chain(dadd_nNI, dstate_gNI, *factors, reverse=True)
            dW_nTI.baddbmm_(link.leave_bTN, dadd_nNI)
            dC_nTN = link.only_entering_(torch.bmm(dV_nTI, self.start_nNI.transpose(1, 2)))
            dB_nTN = link.only_leaving_(torch.bmm(W_nTI, dadd_nNI.transpose(1, 2)))
            dC_nTN.baddbmm_(dG_nTT, self.B_nTN)
            dB_nTN.baddbmm_(dG_nTT.transpose(1, 2), self.C_nTN)
        dx_nTI = self.passes.scaled_and_dots(dW_nTI, self.x_nTI, self.decays.fed_nTH, q_nTH, out_nTI=dW_nTI)
        dx_gSI, dB_gSN, dC_gSN = (self._tokens_of(t) for t in (dx_nTI, dB_nTN, dC_nTN))
        return Inputs(dx_gSI, dB_gSN, dC_gSN, dstate_gNI)

    def _tokens_of(self, x_nTX: Tensor) -> Tensor:
        """Chunks to tokens (g, S, X), without those that fill the last chunk."""
        return x_nTX.view(self.images, -1, x_nTX.shape[-1])[:, : self.tokens]

    def _chunks_of(self, x_gZX: Tensor) -> Tensor:
        return x_gZX.unflatten(1, (-1, self.decays.dt_nTH.shape[1])).flatten(0, 1)
