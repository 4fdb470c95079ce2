"""RoPE for Adventurer: neighbouring channels of B and C of every scan are turned by the row and column of the token.

Source: ours. By the duality of arXiv 2405.21060 a scan is y_i = sum over j <= i of decay(i, j) dt_j (C_i . B_j) x_j, so
C and B are its queries and keys, and turned ones give a product that depends on the offset of two patches, as in RoPE;
arXiv 2603.15569 turns them by angles that depend on the data. The decay is along the order of the scan, as without
turns.

Class tokens and the heading average are not turned. Letters as in adventurer.py, R S rows of packed images, N state
size, E = N / 2 pairs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.backbones.base import TokenLayout
from scaling.backbones.position_encoding import PositionEncoding, PositionSpec
from scaling.backbones.rope import AxialRope, turned
from scaling.backbones.ssd.mixer_tiling import Weights
from scaling.backbones.ssd.scan_inputs import ScanInputs, check_scan, work_dtype
from scaling.backbones.ssd.ssd_scan import scan
from scaling.errors import ConfigError


class ScanRope(PositionEncoding):
    """Turns of axial RoPE (rope.py) for the state of a scan, the same in all blocks."""

    def __init__(self, spec: PositionSpec, rope_base: float = 100.0, rope_transfer: str = "interpolate") -> None:
        """Raises ConfigError for a backbone without a scan, and for a state that 4 does not divide."""
        super().__init__(spec)
        if not spec.state:
            raise ConfigError("pos_embed rope_scan turns B and C of a scan, which this backbone has not: use rope")
        if spec.state % 4:
            raise ConfigError(f"pos_embed rope_scan needs a state divisible by 4, not {spec.state}")
        self.rope = AxialRope(spec._replace(width=spec.state, heads=1), rope_base, rope_transfer)

    def scan_turns(self, layout: TokenLayout, dtype: torch.dtype) -> Tensor:
        turns = self.rope.turns(layout, 0, dtype)  # the same for all heads
        return turns if layout.rows is None else turns[:, 0]


def mix_turned(zxBCdt_BLX: Tensor, w: Weights, eps: float, turns_BLE: Tensor, ids: Tensor | None = None) -> Tensor:
    """The mixer (ssd/mamba2_mixer.py, mix) with B and C turned after their SiLU. turns: complex, one row for all or one
    for each, with the real part's dtype of the arithmetic.

    It is not fused: activations between its steps are kept for the backward pass."""
    check_scan(zxBCdt_BLX, ids)
    with torch.autocast(zxBCdt_BLX.device.type, enabled=False):
        work = work_dtype(zxBCdt_BLX.dtype)
        w = Weights(*(t.to(work) for t in w))
        z_BLI, xBC_BLC, dt_BLH = zxBCdt_BLX.to(work).split(w.splits, -1)
        x_BLI, B_BLN, C_BLN = F.silu(convolved(xBC_BLC, w, ids)).split(w.parts, -1)
        dt_BLH = F.softplus(dt_BLH + w.dt_bias_H)
        B_BLN, C_BLN = (turned(t_BLN.contiguous(), turns_BLE) for t_BLN in (B_BLN, C_BLN))
        x_BLHP = x_BLI.unflatten(-1, (len(w.A_H), -1))
        y_BLHP = scan(ScanInputs(x_BLHP, dt_BLH, w.A_H, B_BLN, C_BLN, w.D_H, ids)).y_BLHP
        out_BLI = F.rms_norm(y_BLHP.flatten(2) * F.silu(z_BLI), w.norm_I.shape, w.norm_I, eps)
    return out_BLI.to(zxBCdt_BLX.dtype)


def convolved(xBC_BLC: Tensor, w: Weights, ids: Tensor | None) -> Tensor:
    """The causal convolution of every channel with its bias; tokens of another segment count as zeros."""
    taps = w.conv_C1K.shape[-1]
    if ids is None:
        padded_BCL = F.pad(xBC_BLC.transpose(1, 2), (taps - 1, 0))
        return F.conv1d(padded_BCL, w.conv_C1K, w.conv_bias_C, groups=len(w.conv_C1K)).transpose(1, 2)
    h_BLC = xBC_BLC * w.conv_C1K[:, 0, -1] + w.conv_bias_C
    for back in range(1, taps):
        same_BL1 = (F.pad(ids, (back, 0), value=-1)[:, : ids.shape[1]] == ids).unsqueeze(-1)
        past_BLC = F.pad(xBC_BLC, (0, 0, back, 0))[:, : ids.shape[1]]
        h_BLC = h_BLC + past_BLC * same_BL1 * w.conv_C1K[:, 0, taps - 1 - back]
    return h_BLC
