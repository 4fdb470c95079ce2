"""Adventurer's block: a Mamba-2 mixer and a SwiGLU MLP. Sources and letters as in adventurer.py."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scaling.backbones.drop_path import DropPath
from scaling.backbones.packed_scan import scan_rows
from scaling.backbones.ssd.mamba2_mixer import mix
from scaling.backbones.ssd.mixer_tiling import Weights
from scaling.backbones.ssd.rms_norm import rms_norm
from scaling.errors import ConfigError
from scaling.model_specs import CONV_TAPS, EXPAND, ModelSpec
from scaling.packing.packed_rows import PackedRows

EPS = 1e-5


class RMSNorm(nn.Module):
    """Root mean square norm over channels, with a weight and no bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.weight.fill_(1)

    def forward(self, x_BLD: Tensor) -> Tensor:
        return rms_norm(x_BLD, self.weight, EPS)


class Mixer(nn.Module):
    """Mamba-2: project, convolve, scan, gate, normalise, project."""

    def __init__(self, width: int, head_dim: int, state: int) -> None:
        super().__init__()
        inner = EXPAND * width
        if inner % head_dim:
            raise ConfigError(f"scan heads of {head_dim} channels do not divide {EXPAND} x {width} = {inner} channels")
        heads = inner // head_dim
        self.dt_bias = nn.Parameter(torch.empty(heads))
        self.A_log = nn.Parameter(torch.empty(heads))
        self.D = nn.Parameter(torch.ones(heads))
        self.in_proj = nn.Linear(width, 2 * inner + 2 * state + heads, bias=False)  # z, x, B, C, dt
        self.conv1d = nn.Conv1d(inner + 2 * state, inner + 2 * state, CONV_TAPS, groups=inner + 2 * state)
        self.norm = RMSNorm(inner)
        self.out_proj = nn.Linear(inner, width, bias=False)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw A_log, D and dt_bias as Mamba-2 does; the layers inside are drawn by their owner."""
        self.A_log.uniform_(1, 16).log_()
        self.D.fill_(1)
        # softplus(dt_bias) is log-uniform in 0.001..0.1
        dt_H = torch.empty_like(self.dt_bias).uniform_(math.log(1e-3), math.log(1e-1)).exp_()
        self.dt_bias.copy_(dt_H + torch.log(-torch.expm1(-dt_H)))

    def forward(self, x_BLD: Tensor, segment_ids: Tensor | None = None) -> Tensor:
        """Tokens to tokens; segment_ids: ids of mamba2_mixer.mix."""
        assert self.conv1d.bias is not None
        A_H = -torch.exp(self.A_log.to(torch.promote_types(self.A_log.dtype, torch.float32)))
        w = Weights(self.conv1d.weight, self.conv1d.bias, self.dt_bias, A_H, self.D, self.norm.weight)
        return self.out_proj(mix(self.in_proj(x_BLD), w, EPS, segment_ids))


class SwiGLU(nn.Module):
    """w3(silu(w1 x) * w2 x), biases in all three."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(width, hidden)
        self.w2 = nn.Linear(width, hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.w3(F.silu(self.w1(x_BLD)) * self.w2(x_BLD))


class Block(nn.Module):
    """Pre-norm: mixer over (heading average, tokens, class token), then SwiGLU."""

    def __init__(self, size: ModelSpec, flip: bool, drop_path: float) -> None:
        super().__init__()
        self.flip = flip
        self.mixer = Mixer(size.width, size.head_dim, size.state)
        self.norm = RMSNorm(size.width)
        self.mlp = SwiGLU(size.width, size.mlp)
        self.norm_mlp = RMSNorm(size.width)
        self.drop_path, self.drop_path_mlp = DropPath(drop_path), DropPath(drop_path)

    def forward(self, x_BLD: Tensor, rows: PackedRows | None = None) -> Tensor:
        """rows: of several images in each row of x; None: every row is an image."""
        mixed_BLD = self._mixed(self.norm(x_BLD)) if rows is None else self._mixed_in_rows(self.norm(x_BLD), rows)
        x_BLD = x_BLD + self.drop_path(mixed_BLD, rows)
        return x_BLD + self.drop_path_mlp(self.mlp(self.norm_mlp(x_BLD)), rows)

    def _mixed(self, u_BLD: Tensor) -> Tensor:
        front_B1D = u_BLD.mean(1, keepdim=True)
        ordered = _flipped(u_BLD) if self.flip else [u_BLD]
        mixed_BLD = self.mixer(torch.cat([front_B1D, *ordered], 1))[:, 1:]
        return torch.cat(_flipped(mixed_BLD), 1) if self.flip else mixed_BLD

    def _mixed_in_rows(self, u_RSD: Tensor, rows: PackedRows) -> Tensor:
        scan = scan_rows(rows, self.flip, u_RSD.device)
        return scan.after_scan(self.mixer(scan.before_scan(u_RSD), scan.segments_RM))


def _flipped(x_BLD: Tensor) -> list[Tensor]:
    """All tokens but the last (the class token) in reverse, and the last; the caller concatenates them."""
    return [x_BLD[:, :-1].flip(1), x_BLD[:, -1:]]
