"""Adventurer's block: a Mamba-2 mixer and a SwiGLU MLP. Sources and letters as in adventurer.py."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scaling.backbones.aligned_linear import AlignedLinear
from scaling.backbones.drop_path import DropPath
from scaling.backbones.packed_scan import scan_rows
from scaling.backbones.scan_rope import mix_turned
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
        self.in_proj = AlignedLinear(width, 2 * inner + 2 * state + heads)  # z, x, B, C, dt
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

    def forward(self, x_BLD: Tensor, segment_ids: Tensor | None = None, turns_BLE: Tensor | None = None) -> Tensor:
        """Tokens to tokens; segment_ids: ids of mamba2_mixer.mix; turns: rotations of B and C (scan_rope.py)."""
        assert self.conv1d.bias is not None
        A_H = -torch.exp(self.A_log.to(torch.promote_types(self.A_log.dtype, torch.float32)))
        w = Weights(self.conv1d.weight, self.conv1d.bias, self.dt_bias, A_H, self.D, self.norm.weight)
        if turns_BLE is not None:
            return self.out_proj(mix_turned(self.in_proj(x_BLD), w, EPS, turns_BLE, segment_ids))
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

    def forward(self, x_BLD: Tensor, rows: PackedRows | None = None, turns_BLE: Tensor | None = None) -> Tensor:
        """rows: of several images in each row of x; None: every row is an image. turns: rotations of B and C by token,
        in the order of x (PositionEncoding.scan_turns)."""
        u_BLD = self.norm(x_BLD)
        mixed_BLD = self._mixed(u_BLD, turns_BLE) if rows is None else self._mixed_in_rows(u_BLD, rows, turns_BLE)
        x_BLD = x_BLD + self.drop_path(mixed_BLD, rows)
        return x_BLD + self.drop_path_mlp(self.mlp(self.norm_mlp(x_BLD)), rows)

    def _mixed(self, u_BLD: Tensor, turns_BLE: Tensor | None) -> Tensor:
        mixed_BLD = self.mixer(self._ordered(u_BLD.mean(1, keepdim=True), u_BLD), None, self._ordered_turns(turns_BLE))
        mixed_BLD = mixed_BLD[:, 1:]
        return torch.cat(_flipped(mixed_BLD), 1) if self.flip else mixed_BLD

    def _ordered(self, front_B1X: Tensor, x_BLX: Tensor) -> Tensor:
        """What is in front of the tokens, and these in the order of the scan."""
        return torch.cat([front_B1X, *(_flipped(x_BLX) if self.flip else [x_BLX])], 1)

    def _ordered_turns(self, turns_BLE: Tensor | None) -> Tensor | None:
        return None if turns_BLE is None else self._ordered(torch.ones_like(turns_BLE[:, :1]), turns_BLE)

    def _mixed_in_rows(self, u_RSD: Tensor, rows: PackedRows, turns_RSE: Tensor | None) -> Tensor:
        scan = scan_rows(rows, self.flip, u_RSD.device)
        turns_RME = None if turns_RSE is None else scan.turns_before_scan(turns_RSE)
        return scan.after_scan(self.mixer(scan.before_scan(u_RSD), scan.segments_RM, turns_RME))


def _flipped(x_BLD: Tensor) -> list[Tensor]:
    """All tokens but the last (the class token) in reverse, and the last; the caller concatenates them."""
    return [x_BLD[:, :-1].flip(1), x_BLD[:, -1:]]
