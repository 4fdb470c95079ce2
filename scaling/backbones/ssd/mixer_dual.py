"""The mixer as products of matrices over all pairs of tokens, in operators that every exporter knows (ONNX).

Source: the quadratic form of state space duality, arXiv 2405.21060, section 3 and listing 1 (segsum). Memory and time
grow with the square of the tokens; numbers are those of mamba2_mixer.mix to rounding. Letters as there; S is a token
before or at L.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.backbones.ssd.mixer_tiling import Weights
from scaling.errors import ConfigError


def mix_dual(zxBCdt_BLX: Tensor, *others: Tensor | float | None) -> Tensor:
    """The operator mixer_operator.mixer, with its arguments: (B, L, X) to (B, L, I). Raises ConfigError for rows of
    several images."""
    *tensors, eps, ids = others
    if ids is not None:
        raise ConfigError("rows of several images have no quadratic form here: give one image per row")
    assert isinstance(eps, float)
    w = Weights(*(t for t in tensors if isinstance(t, Tensor)))
    z_BLI, xBC_BLC, dt_BLH = zxBCdt_BLX.to(w.A_H.dtype).split(w.splits, -1)
    taps, length = w.conv_C1K.shape[-1], zxBCdt_BLX.shape[1]
    xBC_BCL = F.conv1d(F.pad(xBC_BLC.transpose(1, 2), (taps - 1, 0)), w.conv_C1K, w.conv_bias_C, groups=len(w.conv_C1K))
    x_BLI, B_BLN, C_BLN = F.silu(xBC_BCL).transpose(1, 2).split(w.parts, -1)
    dt_BLH = F.softplus(dt_BLH + w.dt_bias_H)
    x_BHLP = x_BLI.unflatten(-1, (len(w.A_H), -1)).transpose(1, 2)
    decay_BHLS = _summed((dt_BLH * w.A_H).transpose(1, 2), length).exp()
    weight_BHLS = (C_BLN @ B_BLN.transpose(1, 2)).unsqueeze(1) * decay_BHLS
    y_BHLP = weight_BHLS @ (dt_BLH.transpose(1, 2).unsqueeze(-1) * x_BHLP) + w.D_H.view(-1, 1, 1) * x_BHLP
    y_BLI = y_BHLP.transpose(1, 2).flatten(2) * F.silu(z_BLI)
    return F.rms_norm(y_BLI, w.norm_I.shape, w.norm_I, eps).to(zxBCdt_BLX.dtype)


def _summed(a_BHL: Tensor, length: int) -> Tensor:
    """Sums of a over the tokens after S up to L (B, H, L, S), -inf where S is after L. A sum of its own for every S: a
    difference of two sums over all tokens would lose the small decays of neighbours."""
    pairs_LS = torch.ones(length, length, dtype=torch.bool, device=a_BHL.device)
    terms_BHLS = a_BHL.unsqueeze(-1).expand(-1, -1, -1, length).masked_fill(~pairs_LS.tril(-1), 0.0)
    return terms_BHLS.cumsum(-2).masked_fill(~pairs_LS.tril(), float("-inf"))
